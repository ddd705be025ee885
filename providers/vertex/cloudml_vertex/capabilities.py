"""What Vertex AI can do, and what to use for the rest."""

from __future__ import annotations

from collections.abc import Mapping

from cloudml.spi import Capability as C
from cloudml.spi import No, Yes

CRON = No(
    "Vertex AI's schedules take only pipelines and notebooks; run 'cloudml monitors run' from any cron, or have "
    "its own monitoring by options.vertex.monitoring of the endpoint"
)

CAPABILITIES: Mapping[C, Yes | No] = {
    C.JOBS: Yes(),
    C.JOBS_IMAGE: Yes(),
    C.JOBS_GPU: Yes("golden requests"),
    C.JOBS_NODES: Yes("golden requests"),
    C.JOBS_SPOT: Yes("golden requests"),
    C.JOBS_RETRIES: No("Vertex AI restarts workers a fixed number of times, or not at all; leave 'retries' out"),
    C.JOBS_DISK: Yes("golden requests"),
    C.JOBS_WAIT_TIMEOUT: No("Vertex AI limits the wait of flex-start jobs alone; leave 'wait_timeout' out"),
    C.MODELS: Yes(),
    C.MODELS_ALIAS: Yes(),
    C.MODELS_APPROVAL: No("Vertex AI's registry has no approval; give approved versions an alias"),
    C.MODELS_ARCHIVE: Yes(),
    C.MODELS_DELETE_VERSION: Yes(),
    C.ENDPOINTS: Yes(),
    C.ENDPOINTS_IMAGE: Yes("golden requests"),
    C.ENDPOINTS_GPU: Yes("golden requests"),
    C.ENDPOINTS_SCALE: Yes("golden requests"),
    C.ENDPOINTS_SCALE_TO_ZERO: No("Vertex AI scales to zero in its preview API alone; use scale.min 1"),
    C.ENDPOINTS_SPOT: Yes("golden requests"),
    C.ENDPOINTS_TRAFFIC: Yes(),
    C.ENDPOINTS_MIRROR: No("Vertex AI has no mirrored traffic; use sagemaker or azureml"),
    C.ENDPOINTS_CAPTURE: Yes(),
    C.ENDPOINTS_REDACT: Yes("golden requests"),
    C.ENDPOINTS_TIMEOUT: Yes("golden requests"),
    C.ENDPOINTS_PIN: No(
        "Vertex AI chooses the deployment by the traffic split alone; deploy to an endpoint of its own"
    ),
    C.MONITORS: Yes(),
    C.MONITORS_SCHEDULE: CRON,
}
