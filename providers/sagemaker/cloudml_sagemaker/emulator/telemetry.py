"""Logs and metrics of what runs, in CloudWatch, under the names that SageMaker gives them."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from cloudml.errors import NotFound

if TYPE_CHECKING:
    from cloudml_sagemaker.emulator.accounts import Scope

TRAINING = "/aws/sagemaker/TrainingJobs"
ENDPOINTS = "/aws/sagemaker/Endpoints"
PROCESSING = "/aws/sagemaker/ProcessingJobs"
LAST = 4096  # bytes of output that are kept, to say why something failed
BATCH = 500  # events, and values, in one call
LONGEST = 200_000  # bytes of a line that are kept


class LogStream:
    """The output of one container, line by line, on its way to CloudWatch Logs."""

    def __init__(self, scope: Scope, group: str, stream: str) -> None:
        self._scope, self.group, self.stream = scope, group, stream
        self._client = scope.world.services.client("logs", scope.account, scope.region)
        self._cursor, self._rest, self._made = 0, b"", False

    def pump(self, container: str, last: bool = False) -> list[str]:
        """Sends what the container wrote since; the whole lines of it are given back."""
        try:
            found, self._cursor = self._scope.world.site.containers.logs(container, self._cursor)
        except NotFound:
            found = b""
        *lines, self._rest = (self._rest + found).split(b"\n")
        if (last and self._rest) or len(self._rest) > LONGEST:
            lines, self._rest = [*lines, self._rest], b""
        texts = [line.decode(errors="replace").rstrip("\r") for line in lines]
        self._send([text for text in texts if text])
        return texts

    def _send(self, texts: list[str]) -> None:
        if texts and not self._made:
            self._make()
        for index in range(0, len(texts), BATCH):
            stamp = int(time.time() * 1000)
            events = [{"timestamp": stamp, "message": text[:LONGEST]} for text in texts[index : index + BATCH]]
            self._client.put_log_events(logGroupName=self.group, logStreamName=self.stream, logEvents=events)

    def _make(self) -> None:
        with suppress(ClientError):  # there already
            self._client.create_log_group(logGroupName=self.group)
        with suppress(ClientError):
            self._client.create_log_stream(logGroupName=self.group, logStreamName=self.stream)
        self._made = True


class Metrics:
    """Values on their way to CloudWatch; `flush` sends what has come in."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._values: dict[tuple[str, tuple[tuple[str, str], ...], str], list[tuple[str, float]]] = defaultdict(list)
        self._lock = threading.Lock()

    def add(
        self, namespace: str, dimensions: Mapping[str, str], values: Mapping[str, float], unit: str = "None"
    ) -> None:
        with self._lock:
            self._values[namespace, tuple(sorted(dimensions.items())), unit] += values.items()

    def flush(self) -> None:
        with self._lock:
            taken, self._values = self._values, defaultdict(list)
        if not taken:
            return
        client = self._scope.world.services.client("cloudwatch", self._scope.account, self._scope.region)
        for (namespace, dimensions, unit), values in taken.items():
            named = [{"Name": name, "Value": value} for name, value in dimensions]
            data: list[dict[str, Any]] = [
                {"MetricName": name, "Value": value, "Unit": unit, "Dimensions": named, "Timestamp": time.time()}
                for name, value in values
            ]
            for index in range(0, len(data), BATCH):
                client.put_metric_data(Namespace=namespace, MetricData=data[index : index + BATCH])
