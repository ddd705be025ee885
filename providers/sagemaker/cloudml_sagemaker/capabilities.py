"""What SageMaker can do, and what to use for the rest."""

from __future__ import annotations

from collections.abc import Mapping

from cloudml.spi import Capability as C
from cloudml.spi import No, Yes

RENDERED = Yes("the native request, validated against botocore's model")  # nothing emulated behaves differently for it
CAPABILITIES: Mapping[C, Yes | No] = {
    C.JOBS: Yes(),
    C.JOBS_IMAGE: RENDERED,
    C.JOBS_GPU: RENDERED,
    C.JOBS_NODES: Yes("several nodes on the emulated cloud"),
    C.JOBS_SPOT: Yes("interrupted and resumed on the emulated cloud"),
    C.JOBS_RETRIES: RENDERED,
    C.JOBS_DISK: RENDERED,
    C.JOBS_WAIT_TIMEOUT: RENDERED,
    C.MODELS: Yes(),
    C.MODELS_ALIAS: Yes(),
    C.MODELS_APPROVAL: Yes(),
    C.MODELS_ARCHIVE: Yes(),
    C.MODELS_DELETE_VERSION: Yes(),
    C.ENDPOINTS: Yes(),
    C.ENDPOINTS_IMAGE: RENDERED,
    C.ENDPOINTS_GPU: RENDERED,
    C.ENDPOINTS_SCALE: Yes(
        "counts, fixed and moved by calls, on the emulated cloud; cpu and gpu by the native request"
    ),
    C.ENDPOINTS_SCALE_TO_ZERO: No("an instance-based endpoint has one instance at least; set scale.min to 1"),
    C.ENDPOINTS_SPOT: No("SageMaker serves from on-demand instances only; leave 'spot' out, or use vertex"),
    C.ENDPOINTS_TRAFFIC: Yes(),
    C.ENDPOINTS_MIRROR: Yes("shadow variants on the emulated cloud: one deployment that is mirrored, to one other"),
    C.ENDPOINTS_CAPTURE: Yes(),
    C.ENDPOINTS_REDACT: No("SageMaker's own capture keeps whole requests; leave 'redact' out, or capture nothing"),
    C.ENDPOINTS_TIMEOUT: No("SageMaker ends every request after 60 s; use 60, or provider 'vertex' or 'azureml'"),
    C.ENDPOINTS_PIN: Yes(),
    C.MONITORS: Yes(),
    C.MONITORS_SCHEDULE: Yes("conformance: full hours; every cron line else is refused with a way out"),
}
