"""A command job's nodes: code, inputs and outputs in their places, one container a process, its output as it comes.

The paths inside are those of Azure's common runtime. Microsoft promises only what stands in the command; the variables'
names are those that people rely on.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from cloudml.emulation import Container, Site
from cloudml.errors import CloudmlError
from cloudml_azureml.emulator.answers import Document, Refused
from cloudml_azureml.emulator.assets import resolved
from cloudml_azureml.emulator.places import ARTIFACTS, container, place, run_folder
from cloudml_azureml.emulator.storage import Storage
from cloudml_azureml.emulator.store import PROVIDER, Resource, Workspace
from cloudml_azureml.emulator.workspaces import CLUSTERS

REFERENCE = re.compile(r"\$\{\{\s*(inputs|outputs)\.([^}\s]+)\s*\}\}")
UPLOADED = ("outputs", "logs")  # folders of the working directory that go to the run's own folder
GRACE = 10.0  # seconds between SIGTERM and SIGKILL
MOST = 16  # processes of one job


class Nodes:
    """The nodes of one job; ``spot`` is whether they may be taken away."""

    def __init__(self, site: Site, storage: Storage, workspace: Workspace, job: Resource) -> None:
        self._site, self._storage, self._workspace, self._job = site, storage, workspace, job
        self._properties: Document = job.properties
        self._folder: Path = site.folder / "jobs" / f"{workspace.guid[:8]}-{job.name}"
        self._inside = f"/mnt/azureml/cr/j/{workspace.guid[:8]}{job.name}"
        self._values: dict[str, str] = {}  # what inputs.x and outputs.y stand for
        self._mounts: dict[str, Path] = {}
        self._read_only: set[str] = set()
        self._ids: list[str] = []
        self._cursors: dict[str, int] = {}
        self._failed: list[int] = []  # ranks that ended badly before anything was stopped
        resources = self._properties.get("resources") or {}
        self._nodes: int = resources.get("instanceCount") or 1
        distribution = self._properties.get("distribution") or {}
        self._kind: str | None = distribution.get("distributionType")
        self._per_node: int = distribution.get("processCountPerInstance") or 1
        settings = self._properties.get("queueSettings") or {}
        cluster = str(self._properties.get("computeId") or "").rpartition("/")[2].lower()
        self.spot = settings.get("jobTier") == "Spot" or CLUSTERS.get(cluster, ("", "", 0))[1] == "LowPriority"
        self._master_port = str(_free_port())
        # Processes without boxes have no names, and need none: they share this machine's loopback.
        self._named = self._nodes * self._per_node > 1 and getattr(site.containers, "note", None) is None

    # Before.

    def prepare(self) -> None:
        """Code, inputs and what its outputs hold already. Raises Refused for what cannot be read."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._nodes * self._per_node > MOST:
            raise Refused(400, "UserError", f"This machine runs at most {MOST} processes of one job.")
        code = self._folder / "code"
        code.mkdir(exist_ok=True)
        if self._properties.get("codeId"):
            uri = resolved(self._workspace, self._properties["codeId"], "codes").properties["codeUri"]
            self._fetch(uri, code)
        for name, said in (self._properties.get("inputs") or {}).items():
            self._values[f"inputs.{name}"] = self._input(name, said)
        self._place_outputs()

    def _place_outputs(self) -> None:
        for name, said in self._properties["outputs"].items():
            if name != "default":
                self._values[f"outputs.{name}"] = self._output(name, said)

    def moved(self) -> None:
        """Fresh machines: of what was written, only what was mounted for writing has been kept."""
        self.keep(("ReadWriteMount",))
        shutil.rmtree(self._folder / "outputs", ignore_errors=True)
        self._place_outputs()

    def _fetch(self, uri: str, target: Path) -> list[Path]:
        where = place(self._workspace, uri)
        return self._storage.download(where.container, where.path, target)

    def _input(self, name: str, said: Document) -> str:
        if said["jobInputType"] == "literal":
            return str(said["value"])
        uri = self._uri(said["uri"])
        if said.get("mode") == "Direct":
            return uri
        folder = self._folder / "inputs" / name
        folder.mkdir(parents=True, exist_ok=True)
        inside = f"{self._inside}/cap/data-capability/wd/INPUT_{name}"
        self._mounts[inside] = folder
        if said.get("mode") != "ReadWriteMount":
            self._read_only.add(inside)
        single = Path(urlsplit(uri).path).name if said["jobInputType"] == "uri_file" else ""
        if not self._fetch(uri, folder / single if single else folder):
            raise Refused(404, "UserError", f"The data of input '{name}' was not found at {uri}")
        whole = folder / single if single else folder
        if not single and not whole.is_dir():
            raise Refused(400, "UserError", f"Input '{name}' is not a folder: {uri}")
        return f"{inside}/{single}" if single else inside

    def _uri(self, said: str) -> str:
        """The data behind an asset's id; a URI is one already."""
        for kind, field in (("data", "dataUri"), ("models", "modelUri")):
            if f"/{kind}/" in said and "/versions/" in said:
                return str(resolved(self._workspace, said, kind).properties[field])
        return said

    def _output(self, name: str, said: Document) -> str:
        folder = self._folder / "outputs" / name
        folder.mkdir(parents=True, exist_ok=True)
        inside = f"{self._inside}/cap/data-capability/wd/{name}"
        self._mounts[inside] = folder
        if said.get("mode") == "Direct":
            return str(said["uri"])
        single = said["jobOutputType"] == "uri_file"
        if said.get("mode") == "ReadWriteMount":  # what is there already is seen: a checkpoint, a second attempt
            self._fetch(said["uri"], folder / name if single else folder)
        return f"{inside}/{name}" if single else inside

    # Running.

    def start(self, attempt: int) -> None:
        """All processes. Raises NotFound for an image that cannot run here."""
        environment = resolved(self._workspace, self._properties["environmentId"], "environments")
        image = environment.properties.get("image") or ""
        command = REFERENCE.sub(lambda found: self._values[f"{found[1]}.{found[2]}"], self._properties["command"])
        processes = self._nodes * self._per_node
        names = tuple(f"node-{rank}" for rank in range(processes)) if self._named else ()
        self._ids = [f"{self._folder.name}-{attempt}-{rank}" for rank in range(processes)]
        for rank, id in enumerate(self._ids):
            work = self._folder / f"wd-{attempt}-{rank}"
            shutil.copytree(self._folder / "code", work)
            inside = f"{self._inside}/exe/wd"
            self._site.containers.start(
                Container(
                    id,
                    image,
                    ("/bin/bash", "-c", command),
                    env={**self._site.environment(), **self._variables(rank)},
                    cwd=inside,
                    mounts={**self._mounts, inside: work},
                    read_only=frozenset(self._read_only),
                    grace=GRACE,
                    host_name=names[rank] if names else None,
                    peers=names,
                )
            )

    def _variables(self, rank: int) -> dict[str, str]:
        at, job = self._workspace, self._job
        made = {
            "AZUREML_RUN_ID": job.name,
            "AZUREML_ARM_SUBSCRIPTION": at.subscription,
            "AZUREML_ARM_RESOURCEGROUP": at.group,
            "AZUREML_ARM_WORKSPACE_NAME": at.name,
            "AZUREML_ARM_PROJECT_NAME": self._properties["experimentName"],
            "AZUREML_WORKSPACE_ID": at.guid,
            "AZUREML_SERVICE_ENDPOINT": f"https://{at.region}.api.azureml.ms",
            "AZUREML_WORKSPACE_SCOPE": f"/subscriptions/{at.subscription}/resourceGroups/{at.group}/providers/"
            f"{PROVIDER}/workspaces/{at.name}",
            "AZUREML_CR_NODE_RANK": str(rank // self._per_node),
        }
        for name, value in self._values.items():
            kind, _, key = name.partition(".")
            made[f"AZURE_ML_{kind.removesuffix('s').upper()}_{key}"] = value
        if self._kind:
            made |= self._distribution(rank)
        return {**made, **(self._properties.get("environmentVariables") or {})}

    def _distribution(self, rank: int) -> dict[str, str]:
        node, local = divmod(rank, self._per_node)
        size, master = self._nodes * self._per_node, "node-0" if self._named else "127.0.0.1"
        made = {"MASTER_ADDR": master, "MASTER_PORT": self._master_port, "NODE_RANK": str(node)}
        made |= {"AZ_BATCHAI_JOB_MASTER_NODE_IP": master}
        if self._kind == "Mpi":
            told = {"RANK": rank, "SIZE": size, "LOCAL_RANK": local, "LOCAL_SIZE": self._per_node}
            return made | {f"OMPI_COMM_WORLD_{name}": str(value) for name, value in told.items()}
        return made | {"WORLD_SIZE": str(size), "RANK": str(rank), "LOCAL_RANK": str(local)}

    def running(self) -> bool:
        """Whether the job goes on. Once a process has ended badly, the others are stopped."""
        states = [self._site.containers.look(id) for id in self._ids]
        alive = any(state is not None and state.running for state in states)
        bad = [
            rank for rank, state in enumerate(states) if state is None or (not state.running and state.exit_code != 0)
        ]
        if bad and not self._failed:
            self._failed = bad
        if alive and bad:
            self.stop()
            return False
        return alive

    def stop(self) -> None:
        """SIGTERM to all, and wait for their end."""
        for id in self._ids:
            self._site.containers.stop(id)
        deadline = time.monotonic() + GRACE + 5
        while time.monotonic() < deadline:
            states = [self._site.containers.look(id) for id in self._ids]
            if not any(state is not None and state.running for state in states):
                return
            time.sleep(0.02)

    def said(self) -> Iterator[tuple[str, bytes]]:
        """What each process has written since the last time, with the name of its log."""
        for rank, id in enumerate(self._ids):
            while True:
                data, cursor = self._site.containers.logs(id, self._cursors.get(id, 0))
                self._cursors[id] = cursor
                if not data:
                    break
                yield self.log_name(rank), data

    def log_name(self, rank: int) -> str:
        return f"user_logs/std_log_process_{rank}.txt" if len(self._ids) > 1 else "user_logs/std_log.txt"

    def failure(self) -> tuple[str, int, str | None] | None:
        """Log, exit code and reason of the first process that did not end well by itself."""
        if not self._failed:
            return None
        rank = self._failed[0]
        ran = self._site.containers.look(self._ids[rank])
        code = ran.exit_code if ran and ran.exit_code is not None else -1
        return self.log_name(rank), code, ran.reason if ran else None

    # Afterwards.

    def keep(self, modes: Collection[str] = ("ReadWriteMount", "Upload")) -> None:
        """Outputs of these modes go to their places, ./outputs and ./logs to the run's folder."""
        for name, said in self._properties["outputs"].items():
            if name == "default" or said.get("mode") not in modes:
                continue
            where = place(self._workspace, said["uri"])
            folder = self._folder / "outputs" / name
            if said["jobOutputType"] == "uri_file":
                if (folder / name).is_file():
                    self._storage.upload(folder / name, where.container, where.path)
            else:
                self._storage.upload(folder, where.container, where.path)
        for work in sorted(self._folder.glob("wd-*-0")):
            for name in UPLOADED:
                if (work / name).is_dir():
                    target = f"{run_folder(self._job.name)}/{name}"
                    self._storage.upload(work / name, container(self._workspace, ARTIFACTS), target)

    def remove(self) -> None:
        """Containers and files."""
        for id in self._ids:
            with contextlib.suppress(CloudmlError):
                self._site.containers.remove(id)
        shutil.rmtree(self._folder, ignore_errors=True)


def _free_port() -> int:
    """One for the first node to listen on; the nodes are processes of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port
