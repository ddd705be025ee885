"""What Azure ML can do, and what to use for the rest."""

from __future__ import annotations

from collections.abc import Mapping

from cloudml.spi import Capability as C
from cloudml.spi import No, Yes

RENDERED = Yes("golden requests")

CAPABILITIES: Mapping[C, Yes | No] = {
    C.JOBS: Yes(),
    C.JOBS_IMAGE: Yes(),
    C.JOBS_GPU: RENDERED,
    C.JOBS_NODES: RENDERED,
    C.JOBS_SPOT: RENDERED,
    C.JOBS_RETRIES: No("a command job is not started again by itself; leave 'retries' out"),
    C.JOBS_DISK: No("a node's disk comes with its size; leave 'resources.disk' out, or choose an instance_type"),
    C.JOBS_WAIT_TIMEOUT: No("a job waits in the queue as long as it takes; leave 'wait_timeout' out"),
    C.MODELS: Yes(),
    C.MODELS_ALIAS: Yes(),
    C.MODELS_APPROVAL: Yes(),
    C.MODELS_ARCHIVE: Yes(),
    C.MODELS_DELETE_VERSION: Yes(),
    C.ENDPOINTS: Yes(),
    C.ENDPOINTS_IMAGE: RENDERED,
    C.ENDPOINTS_GPU: RENDERED,
    C.ENDPOINTS_SCALE: Yes("fixed counts on the emulated cloud; min below max is refused before any call"),
    C.ENDPOINTS_SCALE_TO_ZERO: No("managed endpoints keep one instance at least; use scale.min 1"),
    C.ENDPOINTS_SPOT: No("managed endpoints have no spot machines; leave 'spot' out"),
    C.ENDPOINTS_TRAFFIC: Yes(),
    C.ENDPOINTS_MIRROR: RENDERED,
    C.ENDPOINTS_CAPTURE: Yes(),
    C.ENDPOINTS_REDACT: No(
        "the platform's data collector keeps whole requests, and an endpoint may not write to the workspace's storage "
        "itself; leave 'redact' out, or 'capture'"
    ),
    C.ENDPOINTS_TIMEOUT: Yes("golden requests, up to 180 seconds"),
    C.ENDPOINTS_PIN: Yes(),
    C.MONITORS: Yes(),
    C.MONITORS_SCHEDULE: Yes(),
}
