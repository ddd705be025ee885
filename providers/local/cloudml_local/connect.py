"""One provider over one home folder: the only file that puts the engines, the registry and the store together."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cloudml.spi import Caller
from cloudml_local import environment
from cloudml_local.artifacts import LocalArtifacts
from cloudml_local.endpoints import LocalEndpoints
from cloudml_local.home import Home, default
from cloudml_local.jobs import Jobs
from cloudml_local.models import Models
from cloudml_local.options import Access
from cloudml_local.places import PROCESSES, Processes
from cloudml_local.runs import Runs
from cloudml_local.servers import Servers
from cloudml_local.store import Store
from cloudml_local.telemetry import LocalTelemetry


@dataclass(frozen=True)
class LocalProvider:
    """What ``connect`` returns; monitors live in the artifact store."""

    jobs: Jobs
    models: Models
    endpoints: LocalEndpoints
    artifacts: LocalArtifacts
    telemetry: LocalTelemetry
    monitors: None = None


def provider(
    path: Path | None, access: Access, cpus: int | None, caller: Caller, place: Processes = PROCESSES
) -> LocalProvider:
    """The provider over the folder ``path``, or the default one; ``place`` is where its commands run."""
    home = Home(path or default(os.environ, place.name))
    artifacts = LocalArtifacts(home, caller)
    runs = Runs(home, place.engine(home.path / "jobs"), environment.cpus(cpus), place)
    store = Store(home.path / "registry.db")
    servers = Servers(home, place.engine(home.path / "servers"), store.digest, place)
    return LocalProvider(
        jobs=Jobs(runs, artifacts, caller, place),
        models=Models(store, runs, artifacts, caller, place),
        endpoints=LocalEndpoints(home, servers, access, caller, place),
        artifacts=artifacts,
        telemetry=LocalTelemetry(home, runs, servers, caller),
    )
