"""Which machines the service has, and where: enough to refuse what it would refuse."""

from __future__ import annotations

import re
from typing import Any

from google.cloud import aiplatform_v1

from cloudml_vertex.emulator.problems import wrong_fields

# Families of the documentation, November 2026 (shared facts, containers.md §6.1).
TYPE = re.compile(r"(?:n1|n2|n2d|n4|e2|c2|c2d|c3|c3d|c4|t2d|m1|m2|m3|a2|a3|a4|g2|g4)-[a-z]+(?:-[a-z0-9]+)*")
# Each has a host of its own: ``SUPPORTED_REGIONS`` of google-cloud-aiplatform 2.7.0.
REGIONS = (
    "africa-south1",
    *(f"asia-{rest}" for rest in ("east1", "east2", "northeast1", "northeast2", "northeast3", "south1", "south2")),
    *("asia-southeast1", "asia-southeast2", "australia-southeast1", "australia-southeast2"),
    *(f"europe-{rest}" for rest in ("central2", "north1", "north2", "southwest1")),
    *(f"europe-west{number}" for number in (1, 2, 3, 4, 6, 8, 9, 12)),
    *("me-central1", "me-central2", "me-west1", "northamerica-northeast1", "northamerica-northeast2"),
    *("southamerica-east1", "southamerica-west1", "us-central1", "us-east1", "us-east4", "us-east5", "us-east7"),
    *("us-south1", "us-west1", "us-west2", "us-west3", "us-west4", "us-west8"),
)
NONE = aiplatform_v1.AcceleratorType.ACCELERATOR_TYPE_UNSPECIFIED


def check_machine(spec: Any, place: str) -> None:
    """Raises Problem for a type that does not exist, or an accelerator without its count."""
    if not spec.machine_type:
        raise wrong_fields((f"{place}.machine_type", "Required field is not set."))
    if not TYPE.fullmatch(spec.machine_type):
        raise wrong_fields((f"{place}.machine_type", f"Machine type {spec.machine_type!r} is not supported."))
    if (spec.accelerator_type != NONE) != (spec.accelerator_count > 0):
        text = "Both `accelerator_type` and `accelerator_count` should be specified or none."
        raise wrong_fields((f"{place}.accelerator_type", text))
