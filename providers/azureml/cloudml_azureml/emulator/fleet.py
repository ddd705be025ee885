"""The instances behind one deployment: model and code in their places, containers, probes, and who may ask them.

What a container finds is what Azure's documentation promises to scoring scripts and to custom containers: the model
below ``AZUREML_MODEL_DIR``, the script's folder below ``/var/azureml-app``.
"""

from __future__ import annotations

import http.client
import itertools
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from cloudml.emulation import Container, Site
from cloudml.errors import CloudmlError, NotFound
from cloudml_azureml.emulator import scoring_server
from cloudml_azureml.emulator.answers import Document, Refused, told
from cloudml_azureml.emulator.assets import resolved
from cloudml_azureml.emulator.durations import seconds
from cloudml_azureml.emulator.places import place
from cloudml_azureml.emulator.storage import Storage
from cloudml_azureml.emulator.store import Resource, Workspace

ROOT = "/var/azureml-app"
SCRIPT_PORT = 5001  # of the server around scoring scripts
MOST = 4  # instances that this machine runs; of more, several are one
PROBE_EVERY = 0.05  # seconds between two probes before it is ready
GUIDE = "Please see troubleshooting guide, available here: https://aka.ms/oe-tsg"


@dataclass
class Instance:
    """One container, and the idle connections to it."""

    id: str
    address: tuple[str, int] | None = None
    idle: list[http.client.HTTPConnection] = field(default_factory=list)
    over: bool = False

    @contextmanager
    def connection(self, timeout: float) -> Iterator[http.client.HTTPConnection]:
        """A connection, which is kept for the next one if nothing goes wrong."""
        if self.address is None:
            raise ConnectionRefusedError("it does not listen")
        try:
            connection = self.idle.pop()
        except IndexError:
            connection = http.client.HTTPConnection(*self.address, timeout=timeout)
            connection.connect()
        connection.timeout = timeout
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self.idle.append(connection)
        if self.over:
            self.hang_up()

    def hang_up(self) -> None:
        while self.idle:
            self.idle.pop().close()


class Fleet:
    """One generation of a deployment: what was deployed by one PUT."""

    numbers = itertools.count(1)

    def __init__(self, site: Site, storage: Storage, workspace: Workspace, endpoint: str, deployment: Resource) -> None:
        self._site, self._storage, self._workspace = site, storage, workspace
        self.deployment = deployment
        self.properties: Document = dict(deployment.properties)
        self._number = next(self.numbers)
        self._folder = site.folder / "deployments" / f"{workspace.guid[:8]}-{endpoint}-{deployment.name}-{self._number}"
        environment = resolved(workspace, self.properties["environmentId"], "environments").properties
        self._image: str = environment.get("image") or ""
        self._routes: Document = {} if self.properties.get("codeConfiguration") else environment["inferenceConfig"]
        self.instances: list[Instance] = []
        self._turn = itertools.count()
        self._ended = threading.Event()
        self._asked = 0
        self._changed = threading.Condition()
        self._mounts: dict[str, Path] = {}
        self._variables: dict[str, str] = {"AML_APP_ROOT": ROOT}

    @property
    def route(self) -> str:
        """The path that scores."""
        path: str = self._routes["scoringRoute"]["path"] if self._routes else "/score"
        return path

    @property
    def _port(self) -> int:
        port: int = self._routes["scoringRoute"]["port"] if self._routes else SCRIPT_PORT
        return port

    def _path(self, probe: str) -> str:
        return str(self._routes[probe]["path"]) if self._routes.get(probe) else "/"

    # Start and end.

    def start(self) -> None:
        """Returns when all instances are ready. Raises Refused, in the service's words, if they will not be."""
        self._folder.mkdir(parents=True)
        self._place_model()
        self._place_code()
        self.scale(self.deployment.body["sku"]["capacity"])

    def scale(self, capacity: int) -> None:
        """As many instances as asked for, up to what this machine runs."""
        wanted = min(capacity, MOST)
        while len(self.instances) > wanted:
            self._remove(self.instances.pop())
        fresh = [
            Instance(f"{self._folder.name}-{len(self.instances) + each}")
            for each in range(wanted - len(self.instances))
        ]
        for instance in fresh:
            if self._ended.is_set():
                break
            self._launch(instance)
            self.instances.append(instance)
        for instance in fresh:
            self._await(instance)

    def _place_model(self) -> None:
        if not self.properties.get("model"):
            return
        model = resolved(self._workspace, self.properties["model"], "models")
        uri: str = model.properties["modelUri"]
        where, folder = place(self._workspace, uri), self._folder / "model"
        if not self._storage.download(where.container, where.path, folder / PurePosixPath(where.path).name):
            raise Refused(400, "BadArgument", f"The model was not found at {uri}. {GUIDE}#error-badargument")
        base = self.properties.get("modelMountPath") or f"{ROOT}/azureml-models"
        inside = f"{base}/{model.path[1]}/{model.name}"
        self._mounts[inside] = folder
        self._variables["AZUREML_MODEL_DIR"] = inside

    def _place_code(self) -> None:
        said = self.properties.get("codeConfiguration")
        if not said:
            return
        code = resolved(self._workspace, said["codeId"], "codes")
        where, folder = place(self._workspace, code.properties["codeUri"]), self._folder / "code"
        self._storage.download(where.container, where.path, folder)
        if not (folder / said["scoringScript"]).is_file():
            raise Refused(400, "BadArgument", f"Scoring script '{said['scoringScript']}' was not found. {GUIDE}")
        inside = f"{ROOT}/{code.path[1]}"
        self._mounts[inside] = folder
        self._variables |= {
            "AZUREML_SOURCE_DIRECTORY": inside,
            "AZUREML_ENTRY_SCRIPT": f"{inside}/{said['scoringScript']}",
        }

    def _launch(self, instance: Instance) -> None:
        server = f"{ROOT}-server/scoring_server.py"
        scripted = bool(self.properties.get("codeConfiguration"))
        mounts = {**self._mounts, server: Path(scoring_server.__file__)} if scripted else self._mounts
        environment: Mapping[str, str] = self.properties.get("environmentVariables") or {}
        container = Container(
            instance.id,
            self._image,
            ("python", server, "{port}") if scripted else (),
            env={**self._site.environment(), "PORT": "{port}", **self._variables, **environment},
            cwd=self._variables.get("AZUREML_SOURCE_DIRECTORY", "/"),
            mounts=mounts,
            read_only=frozenset(mounts),
            port=self._port,
        )
        try:
            self._site.containers.start(container)
        except NotFound as missing:
            said = f"The user container image could not be downloaded: {told(missing)}. {GUIDE}#error-badargument"
            raise Refused(400, "BadArgument", said) from missing

    def _await(self, instance: Instance) -> None:
        """Until the readiness probe is answered. Raises Refused."""
        probe: Document = self.properties["readinessProbe"]
        patience = seconds(probe["initialDelay"]) + probe["failureThreshold"] * seconds(probe["period"])
        deadline = time.monotonic() + patience
        while not self._ended.wait(PROBE_EVERY):
            ran = self._site.containers.look(instance.id)
            if ran is None or not ran.running:
                code = f" (exit code {ran.exit_code})" if ran else ""
                said = f"User container has crashed or terminated{code}. {GUIDE}#error-resourcenotready"
                raise Refused(400, "ResourceNotReady", said)
            instance.address = ran.address
            if self._ready(instance, seconds(probe["timeout"])):
                return
            if time.monotonic() > deadline:
                said = f"Readiness probe failed {probe['failureThreshold']} times. {GUIDE}#error-resourcenotready"
                raise Refused(400, "ResourceNotReady", said)
        raise Refused(409, "Conflict", "The deployment was deleted.")

    def _ready(self, instance: Instance, timeout: float) -> bool:
        try:
            with instance.connection(timeout) as connection:
                connection.request("GET", self._path("readinessRoute"))
                answer = connection.getresponse()
                answer.read()
                return answer.status == 200
        except (OSError, http.client.HTTPException):
            return False

    def revive(self) -> None:
        """Starts again what has ended by itself."""
        for instance in tuple(self.instances):
            ran = self._site.containers.look(instance.id)
            if self._ended.is_set() or (ran is not None and ran.running):
                continue
            instance.hang_up()
            try:
                self._site.containers.remove(instance.id)
                self._launch(instance)
                again = self._site.containers.look(instance.id)
                instance.address = again.address if again else None
            except (CloudmlError, Refused):
                continue  # at the next look again

    @contextmanager
    def asked(self) -> Iterator[bool]:
        """Around a request, so that the end waits for it; False if there will be no answer any more."""
        with self._changed:
            open = not self._ended.is_set()
            self._asked += open
        try:
            yield open
        finally:
            with self._changed:
                self._asked -= open
                self._changed.notify_all()

    def _remove(self, instance: Instance) -> None:
        instance.over = True
        instance.hang_up()
        self._site.containers.remove(instance.id)

    def end(self, *, patient: bool = True) -> None:
        """Containers and files are gone, once the requests that are on their way have had the time that they have."""
        patience = seconds(self.properties["requestSettings"]["requestTimeout"]) if patient else 0.0
        with self._changed:
            self._ended.set()
            self._changed.wait_for(lambda: not self._asked, patience)
        for instance in self.instances:
            self._remove(instance)
        self.instances = []
        shutil.rmtree(self._folder, ignore_errors=True)

    def said(self) -> str:
        """The output of all instances."""
        texts = []
        for instance in tuple(self.instances):
            cursor = 0
            while True:
                try:
                    data, cursor = self._site.containers.logs(instance.id, cursor)
                except CloudmlError:
                    break
                if not data:
                    break
                texts.append(data.decode(errors="replace"))
        return "".join(texts)

    def next(self) -> Instance:
        """The instance whose turn it is. Raises ConnectionRefusedError if there is none."""
        instances = self.instances
        if not instances:
            raise ConnectionRefusedError("no instance")
        return instances[next(self._turn) % len(instances)]
