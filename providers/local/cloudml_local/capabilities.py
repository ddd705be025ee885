"""What processes on one machine can do, and what to use for the rest."""

from __future__ import annotations

from collections.abc import Mapping

from cloudml.spi import Capability as C
from cloudml.spi import No, Yes

IMAGE = No("processes run in this Python environment and have no images; use provider 'docker'", planned=True)
GPU = No("processes are not given devices of their own; use provider 'docker' or a cloud")
SPOT = No("this machine is nobody's spare capacity; leave 'spot' out, or use a cloud")

CAPABILITIES: Mapping[C, Yes | No] = {
    C.JOBS: Yes(),
    C.JOBS_IMAGE: IMAGE,
    C.JOBS_GPU: GPU,
    C.JOBS_NODES: No("there is one machine; use a cloud for several nodes"),
    C.JOBS_SPOT: SPOT,
    C.JOBS_RETRIES: Yes(),
    C.JOBS_DISK: No("a process shares this machine's disk; leave 'resources.disk' out"),
    C.JOBS_WAIT_TIMEOUT: Yes(),
    C.MODELS: Yes(),
    C.MODELS_ALIAS: Yes(),
    C.MODELS_APPROVAL: Yes(),
    C.MODELS_ARCHIVE: Yes(),
    C.MODELS_DELETE_VERSION: Yes(),
    C.ENDPOINTS: Yes(),
    C.ENDPOINTS_IMAGE: IMAGE,
    C.ENDPOINTS_GPU: GPU,
    C.ENDPOINTS_SCALE: No("a deployment is one server process; use a cloud for more", planned=True),
    C.ENDPOINTS_SCALE_TO_ZERO: No("a server process runs until it is deleted; use a cloud for scale to zero"),
    C.ENDPOINTS_SPOT: SPOT,
    C.ENDPOINTS_TRAFFIC: Yes(),
    C.ENDPOINTS_MIRROR: No("the gateway sends each request to one deployment; use sagemaker or azureml", planned=True),
    C.ENDPOINTS_CAPTURE: Yes(),
    C.ENDPOINTS_REDACT: Yes(),
    C.ENDPOINTS_TIMEOUT: Yes(),
    C.ENDPOINTS_PIN: Yes(),
    C.MONITORS: Yes(),
    C.MONITORS_SCHEDULE: No("run 'cloudml monitors run' from any cron"),
}
