"""From what a spec asks for to a machine type, by a table of November 2026 (shared facts, containers.md §6.1).

The smallest row that has as many CPUs and as much memory wins. Vertex AI keeps about one vCPU of a serving replica and
up to 40 % of a small training machine's memory for itself (its documentation): ask for what the program needs, and the
table's head-room is yours to add.
"""

from __future__ import annotations

from typing import NamedTuple

from cloudml.errors import ConfigError
from cloudml.specs import Resources

GIB = 1 << 30


class Machine(NamedTuple):
    """``memory`` in GiB; an accelerator type comes with its count."""

    type: str
    cpus: int
    memory: int
    accelerator: str = ""
    accelerators: int = 0


TRAINING = (
    Machine("n4-standard-2", 2, 8),
    Machine("e2-highmem-2", 2, 16),
    Machine("e2-standard-4", 4, 16),
    Machine("e2-standard-8", 8, 32),
    Machine("e2-standard-16", 16, 64),
    Machine("e2-standard-32", 32, 128),
    Machine("n2-standard-64", 64, 256),
    Machine("n2-highmem-80", 80, 640),
)
SERVING = (
    Machine("e2-standard-2", 2, 8),
    Machine("e2-highmem-2", 2, 16),
    Machine("e2-standard-4", 4, 16),
    Machine("e2-standard-8", 8, 32),
    Machine("e2-standard-16", 16, 64),
    Machine("e2-standard-32", 32, 128),
    Machine("n2-standard-64", 64, 256),
    Machine("n2-standard-96", 96, 384),
)
ACCELERATED = (
    Machine("n1-standard-4", 4, 15, "NVIDIA_TESLA_T4", 1),
    Machine("n1-standard-16", 16, 60, "NVIDIA_TESLA_T4", 4),
    Machine("g2-standard-4", 4, 16, "NVIDIA_L4", 1),
    Machine("g2-standard-24", 24, 96, "NVIDIA_L4", 2),
    Machine("g2-standard-48", 48, 192, "NVIDIA_L4", 4),
    Machine("a2-highgpu-1g", 12, 85, "NVIDIA_TESLA_A100", 1),
    Machine("a2-highgpu-8g", 96, 680, "NVIDIA_TESLA_A100", 8),
    Machine("a2-ultragpu-1g", 12, 170, "NVIDIA_A100_80GB", 1),
    Machine("a3-highgpu-1g", 26, 234, "NVIDIA_H100_80GB", 1),
    Machine("a3-highgpu-8g", 208, 1872, "NVIDIA_H100_80GB", 8),
)
DEFAULT_ACCELERATOR = "NVIDIA_L4"
PREFIXES = ("", "NVIDIA_", "NVIDIA_TESLA_")


def choose(resources: Resources, table: tuple[Machine, ...], type: str | None, accelerator: str | None) -> Machine:
    """The machine for some resources; ``type`` and ``accelerator`` are the user's own choice. ConfigError if none."""
    if accelerator and not resources.gpu:
        raise ConfigError(
            f"options.vertex.accelerator is {accelerator!r} and no GPU is asked for", hint="say how many: resources.gpu"
        )
    if type:
        return Machine(type, 0, 0, _accelerator(resources, accelerator), resources.gpu)
    memory = (resources.memory or 0) / GIB
    if resources.gpu:
        wanted = _accelerator(resources, accelerator)
        rows = tuple(row for row in ACCELERATED if row.accelerator == wanted and row.accelerators >= resources.gpu)
    else:
        wanted, rows = "", table
    for row in rows:
        if row.cpus >= resources.cpu and row.memory >= memory:
            return row
    asked = f"{resources.cpu:g} CPUs, {memory:g} GiB" + (f", {resources.gpu} {wanted}" if wanted else "")
    raise ConfigError(f"no machine type of the table has {asked}", hint="name one: options.vertex.machine_type")


def spec(machine: Machine) -> dict[str, object]:
    """The API's ``machineSpec``."""
    found: dict[str, object] = {"machineType": machine.type}
    if machine.accelerator and machine.accelerators:
        found |= {"acceleratorType": machine.accelerator, "acceleratorCount": machine.accelerators}
    return found


def _accelerator(resources: Resources, chosen: str | None) -> str:
    """``gpu_type`` in the API's words (``T4`` is ``NVIDIA_TESLA_T4``)."""
    if not resources.gpu:
        return ""
    word = (chosen or resources.gpu_type or DEFAULT_ACCELERATOR).upper().replace("-", "_")
    known = sorted({row.accelerator for row in ACCELERATED})
    return next((name for name in known if word in {name.removeprefix(start) for start in PREFIXES}), word)
