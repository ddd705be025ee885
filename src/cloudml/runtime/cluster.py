"""How many nodes run this job and which one this is, from whatever the platform says. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cloudml.errors import ConfigError


@dataclass(frozen=True)
class Cluster:
    """The nodes of one job; ``node_rank`` counts from 0, and rank 0 is the master."""

    num_nodes: int
    node_rank: int
    master_addr: str
    master_port: int


# In order of trust: (number of nodes, rank, master's address, master's port). The first row whose rank is set counts.
SOURCES: tuple[tuple[str, str, str, str], ...] = (
    ("CLOUDML_NUM_NODES", "CLOUDML_NODE_RANK", "CLOUDML_MASTER_ADDR", "CLOUDML_MASTER_PORT"),
    ("PET_NNODES", "PET_NODE_RANK", "PET_MASTER_ADDR", "PET_MASTER_PORT"),
    ("WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT"),  # Azure ML, PyTorch with one process on each node
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "AZ_BATCHAI_JOB_MASTER_NODE_IP", "MASTER_PORT"),  # and MPI
)
ALONE = Cluster(1, 0, "127.0.0.1", 29500)


def cluster(env: Mapping[str, str]) -> Cluster:
    """This node's place. Raises ConfigError when a variable does not hold a number, or the rank is out of range."""
    for nodes, rank, address, port in SOURCES:
        if rank in env:
            found = Cluster(
                _number(env, nodes, ALONE.num_nodes),
                _number(env, rank, ALONE.node_rank),
                env.get(address, ALONE.master_addr),
                _number(env, port, ALONE.master_port),
            )
            if not 0 <= found.node_rank < found.num_nodes:
                raise ConfigError(f"{rank}={found.node_rank} is not below {nodes}={found.num_nodes}")
            return found
    return ALONE


def _number(env: Mapping[str, str], name: str, default: int) -> int:
    given = env.get(name, str(default))
    try:
        return int(given.rsplit(":", 1)[-1])  # torchrun's PET_NNODES may be a range, "1:4"
    except ValueError:
        raise ConfigError(f"{name}={given!r} is not a number") from None
