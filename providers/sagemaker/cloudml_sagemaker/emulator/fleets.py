"""The containers behind an endpoint: a fleet is one endpoint configuration that runs, a variant its instances."""

from __future__ import annotations

import http.client
import itertools
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cloudml.emulation import Container
from cloudml.errors import CloudmlError, NotFound
from cloudml_sagemaker.emulator import models
from cloudml_sagemaker.emulator.accounts import Document, Scope
from cloudml_sagemaker.emulator.containers import environment
from cloudml_sagemaker.emulator.problems import Refused
from cloudml_sagemaker.emulator.services import Bucket, unpack
from cloudml_sagemaker.emulator.telemetry import ENDPOINTS, LogStream

PORT = 8080
ADDITIONAL = "/opt/ml/additional-model-data-sources"
GRACE = 30.0  # seconds between SIGTERM and SIGKILL, the cloud's own
PING_EVERY, PING_TIMEOUT = 0.05, 2.0
STARTUP = 480  # seconds for the first answer to /ping, unless the variant says
DRAIN = 60.0  # seconds: the longest invocation


class Unhealthy(Exception):
    """The fleet does not come up; the text is the endpoint's FailureReason."""


@dataclass
class Instance:
    """One machine of a variant: a container."""

    id: str
    stream: LogStream
    address: tuple[str, int] | None = None


@dataclass
class Variant:
    """A variant that runs. ``weight`` is its share of the traffic against that of the others."""

    spec: Document
    shadow: bool
    folder: Path
    container: Document
    isolated: bool
    weight: float
    wanted: int
    instances: list[Instance] = field(default_factory=list)
    turn: Iterator[int] = field(default_factory=itertools.count)

    @property
    def name(self) -> str:
        return str(self.spec["VariantName"])

    @property
    def mounts(self) -> dict[str, Path]:
        """The model, and what else the container is given, by their paths in it."""
        channels = [each["ChannelName"] for each in self.container.get("AdditionalModelDataSources", ())]
        return {"/opt/ml/model": self.folder / "model"} | {
            f"{ADDITIONAL}/{channel}": self.folder / "additional" / channel for channel in channels
        }

    def next(self) -> Instance | None:
        """The instance whose turn it is."""
        instances = [*self.instances]
        return instances[next(self.turn) % len(instances)] if instances else None


class Fleet:
    """The variants of one configuration. Calls are counted, so that `close` lets them end first."""

    def __init__(self, scope: Scope, endpoint: str, config: Document) -> None:
        self.scope, self.endpoint, self.config = scope, endpoint, config
        self.folder = scope.world.site.folder / scope.place("endpoint", endpoint) / os.urandom(4).hex()
        self.variants: list[Variant] = []
        self._calls = 0
        self._idle = threading.Condition()
        self._closed = False

    def start(self, kept: dict[str, Variant] | None = None) -> None:
        """Start every container. ``kept`` are variants whose weight and number of instances are taken over."""
        for shadow, member in ((False, "ProductionVariants"), (True, "ShadowProductionVariants")):
            for spec in self.config.get(member, ()):
                old = (kept or {}).get(spec["VariantName"])
                weight = old.weight if old else float(spec.get("InitialVariantWeight", 1.0))
                wanted = old.wanted if old else int(spec["InitialInstanceCount"])
                self._add(spec, shadow, weight, wanted)

    def _add(self, spec: Document, shadow: bool, weight: float, wanted: int) -> None:
        folder = self.folder / spec["VariantName"]
        try:
            container = models.container(self.scope, spec["ModelName"])
            isolated = bool(models.find(self.scope, spec["ModelName"]).get("EnableNetworkIsolation"))
        except Refused as error:
            raise Unhealthy(error.message) from error
        _fetch_model(self.scope, container, folder / "model")
        for each in container.get("AdditionalModelDataSources", ()):
            source = {"ModelDataSource": {"S3DataSource": each["S3DataSource"]}}
            _fetch_model(self.scope, source, folder / "additional" / each["ChannelName"])
        variant = Variant(spec, shadow, folder, container, isolated, weight, wanted)
        self.variants.append(variant)
        for _ in range(wanted):
            self._grow(variant)

    def _grow(self, variant: Variant) -> Instance:
        number = os.urandom(6).hex()
        id = f"{self.scope.place('endpoint', self.endpoint)}-{variant.name}-{number}"
        stream = LogStream(self.scope, f"{ENDPOINTS}/{self.endpoint}", f"{variant.name}/i-{number}")
        instance = Instance(id, stream)
        self._run(variant, instance)
        variant.instances.append(instance)
        return instance

    def _run(self, variant: Variant, instance: Instance) -> None:
        own = {"SAGEMAKER_BIND_TO_PORT": "{port}", "SAGEMAKER_SAFE_PORT_RANGE": "{port}-{port}"}
        container = Container(
            instance.id,
            self.scope.world.local(variant.container["Image"]),
            arguments=("serve",),
            env=environment(self.scope, variant.isolated) | own | variant.container.get("Environment", {}),
            mounts=variant.mounts,
            read_only=frozenset(variant.mounts),
            port=PORT,
            grace=GRACE,
        )
        try:
            self.scope.world.site.containers.start(container)
        except NotFound as error:
            image = variant.container["Image"]
            message = f"The image '{image}' does not exist or cannot be run: {error}"
            raise Unhealthy(message) from error

    def wait(self) -> None:
        """Until each instance answers /ping. Raises Unhealthy."""
        for variant in self.variants:
            share = self.scope.world.timing.health
            seconds = variant.spec.get("ContainerStartupHealthCheckTimeoutInSeconds", STARTUP) * share
            deadline = time.monotonic() + seconds
            for instance in [*variant.instances]:
                self._wait_for(variant, instance, deadline)

    def _wait_for(self, variant: Variant, instance: Instance, deadline: float) -> None:
        containers = self.scope.world.site.containers
        while True:
            ran = containers.look(instance.id)
            if ran and ran.running and ran.address and pings(ran.address):
                instance.address = ran.address
                return
            gone = ran is None or not ran.running
            if gone or time.monotonic() > deadline or self.scope.world.ending.is_set():
                instance.stream.pump(instance.id, last=True)
                message = f"The primary container for production variant {variant.name} did not pass the ping health"
                raise Unhealthy(f"{message} check. Please check CloudWatch logs for this endpoint.")
            self.scope.world.sleep(PING_EVERY)

    def scale(self, variant: Variant, wanted: int) -> None:
        """Start or end instances until there are as many. Raises Unhealthy."""
        variant.wanted = wanted
        while len(variant.instances) < wanted:
            instance = self._grow(variant)
            self._wait_for(variant, instance, time.monotonic() + STARTUP * self.scope.world.timing.health)
        while len(variant.instances) > wanted:
            self._end([variant.instances.pop()])

    def keep(self) -> None:
        """Send on what was written, and start again what has ended by itself, as the cloud does."""
        containers = self.scope.world.site.containers
        for variant in self.variants:
            for instance in [*variant.instances]:
                instance.stream.pump(instance.id)
                ran = containers.look(instance.id)
                if instance.address and ran and not ran.running and not self._closed:
                    instance.stream.pump(instance.id, last=True)
                    containers.remove(instance.id)
                    instance.stream = LogStream(self.scope, instance.stream.group, instance.stream.stream)
                    with suppress(Unhealthy, CloudmlError):
                        self._run(variant, instance)
                elif ran and ran.running and ran.address:
                    instance.address = ran.address if instance.address else None

    def enter(self) -> None:
        with self._idle:
            self._calls += 1

    def leave(self) -> None:
        with self._idle:
            self._calls -= 1
            self._idle.notify_all()

    def close(self, drain: bool = True) -> None:
        """End all containers, once their calls have been answered."""
        self._closed = True
        if drain:
            with self._idle:
                self._idle.wait_for(lambda: not self._calls, DRAIN)
        self._end([each for variant in self.variants for each in variant.instances])
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, instances: list[Instance]) -> None:
        containers, ending = self.scope.world.site.containers, self.scope.world.ending.is_set()
        for instance in instances:
            (containers.remove if ending else containers.stop)(instance.id)
        deadline = time.monotonic() + GRACE
        for instance in instances:
            while (ran := containers.look(instance.id)) and ran.running and time.monotonic() < deadline:
                time.sleep(PING_EVERY)
            if not ending:
                instance.stream.pump(instance.id, last=True)
            containers.remove(instance.id)


def pings(address: tuple[str, int]) -> bool:
    """Whether a container is ready."""
    connection = http.client.HTTPConnection(*address, timeout=PING_TIMEOUT)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _fetch_model(scope: Scope, container: Document, folder: Path) -> None:
    """The model's archive, unpacked, or its folder as it is. Raises Unhealthy."""
    folder.mkdir(parents=True)
    source = container.get("ModelDataSource", {}).get("S3DataSource", {})
    uri = container.get("ModelDataUrl") or source.get("S3Uri")
    if not uri:
        return
    bucket = Bucket(scope.world.services, scope.account, scope.region)
    try:
        if source.get("CompressionType") == "None":
            keys = [str(each["Key"]) for each in bucket.list(uri)]
            if not keys:
                raise LookupError(uri)
            bucket.fetch(uri, folder, keys)
            return
        archive = folder.with_name("model.tar.gz")
        archive.write_bytes(bucket.read(uri))
        unpack(archive, folder)
        archive.unlink()
    except (LookupError, PermissionError) as error:
        message = f'Failed to download model data for container "container_1" from URL: "{uri}". Please ensure that '
        message += "there is an object located at the URL and that the role passed to CreateModel has permissions to "
        raise Unhealthy(f"{message}download the model.") from error
    except ValueError as error:
        message = f'Failed to extract model data archive from URL "{uri}" for container "container_1": {error}.'
        raise Unhealthy(f"{message} Please ensure that the object is a valid tar.gz archive.") from error
