"""From what a spec asks for to a size of machine, by a table of November 2026 (shared facts, containers.md §6.1).

The smallest row that has as many CPUs and as much memory wins. Managed endpoints take fewer sizes than jobs.
"""

from __future__ import annotations

from typing import NamedTuple

from cloudml.errors import ConfigError
from cloudml.specs import Resources

GIB = 1 << 30
SERVERLESS = "serverless"  # the compute of jobs that name no cluster


class Size(NamedTuple):
    """``memory`` in GiB; ``gpu`` is the class of its accelerators."""

    name: str
    cpus: int
    memory: int
    gpu: str = ""
    gpus: int = 0


TRAINING = (
    Size("Standard_F2s_v2", 2, 4),
    Size("Standard_D2s_v3", 2, 8),
    Size("Standard_D4s_v3", 4, 16),
    Size("Standard_D8s_v3", 8, 32),
    Size("Standard_D16s_v3", 16, 64),
    Size("Standard_D32s_v3", 32, 128),
    Size("Standard_D64s_v3", 64, 256),
)
SERVING = (
    Size("Standard_F2s_v2", 2, 4),
    Size("Standard_D2as_v4", 2, 8),
    Size("Standard_D4as_v4", 4, 16),
    Size("Standard_D8as_v4", 8, 32),
    Size("Standard_D16as_v4", 16, 64),
    Size("Standard_D32as_v4", 32, 128),
    Size("Standard_D64as_v4", 64, 256),
    Size("Standard_D96as_v4", 96, 384),
)
ACCELERATED = (
    Size("Standard_NC4as_T4_v3", 4, 28, "T4", 1),
    Size("Standard_NC64as_T4_v3", 64, 440, "T4", 4),
    Size("Standard_NV36ads_A10_v5", 36, 440, "A10", 1),
    Size("Standard_NV72ads_A10_v5", 72, 880, "A10", 2),
    Size("Standard_NC24ads_A100_v4", 24, 220, "A100", 1),
    Size("Standard_ND96amsr_A100_v4", 96, 1900, "A100", 8),
    Size("Standard_NC40ads_H100_v5", 40, 320, "H100", 1),
    Size("Standard_ND96isr_H100_v5", 96, 1900, "H100", 8),
)


def choose(resources: Resources, table: tuple[Size, ...], chosen: str | None) -> str:
    """The size for some resources; ``chosen`` is the user's own. Raises ConfigError if the table has none."""
    if chosen:
        return chosen
    memory = (resources.memory or 0) / GIB
    wanted = (resources.gpu_type or "T4").upper() if resources.gpu else ""
    rows = tuple(row for row in ACCELERATED if row.gpu == wanted and row.gpus >= resources.gpu) if wanted else table
    for row in rows:
        if row.cpus >= resources.cpu and row.memory >= memory:
            return row.name
    asked = f"{resources.cpu:g} CPUs, {memory:g} GiB" + (f", {resources.gpu} {wanted}" if wanted else "")
    raise ConfigError(f"no size of the table has {asked}", hint="name one: options.azureml.instance_type")
