"""Data capture: requests and answers of an endpoint as SageMaker's JSON Lines in S3.

``<prefix>/<endpoint>/<variant>/yyyy/mm/dd/hh/MM-SS-mmm-<id>.jsonl``, one record per call.
"""

from __future__ import annotations

import base64
import json
import random
import threading
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from cloudml_sagemaker.emulator.accounts import Document, Scope
from cloudml_sagemaker.emulator.services import Bucket

DEFAULT = {"CsvContentTypes": ["text/csv"], "JsonContentTypes": ["application/json"]}
SIDES = {"Input": "endpointInput", "Output": "endpointOutput"}


@dataclass(frozen=True)
class Side:
    """What went one way."""

    content_type: str
    body: bytes


class Capture:
    """The records of one account in one region, on their way to S3."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._records: dict[str, list[str]] = defaultdict(list)
        self._lock = threading.Lock()

    def add(
        self, config: Document, endpoint: str, variant: str, sides: dict[str, Side], inference: str, custom: str
    ) -> None:
        """Notes one call, if the endpoint captures and the sample takes it."""
        capture = config.get("DataCaptureConfig")
        if not capture or not capture.get("EnableCapture"):
            return
        if random.random() * 100 >= capture["InitialSamplingPercentage"]:
            return
        wanted = {option["CaptureMode"] for option in capture["CaptureOptions"]}
        both = "InputAndOutput" in wanted
        types = capture.get("CaptureContentTypeHeader") or DEFAULT
        data = {SIDES[name]: _side(name, side, types) for name, side in sides.items() if both or name in wanted}
        now = time.time()
        meta: dict[str, Any] = {"eventId": str(uuid.uuid4()), "inferenceTime": _time(now)}
        if inference:
            meta["inferenceId"] = inference
        if custom:
            meta["customAttributes"] = [custom]
        record = {"captureData": data, "eventMetadata": meta, "eventVersion": "0"}
        hour = time.strftime("%Y/%m/%d/%H", time.gmtime(now))
        folder = f"{capture['DestinationS3Uri'].rstrip('/')}/{endpoint}/{variant}/{hour}"
        with self._lock:
            self._records[folder].append(json.dumps(record))

    def flush(self) -> None:
        """Stores what was noted; whatever it raises, nothing of it is lost."""
        with self._lock:
            taken, self._records = self._records, defaultdict(list)
        if not taken:
            return
        bucket = Bucket(self._scope.world.services, self._scope.account, self._scope.region)
        try:
            while taken:
                folder, records = next(iter(taken.items()))
                now = time.time()
                stamp = time.strftime("%M-%S", time.gmtime(now)) + f"-{int(now * 1000) % 1000:03}"
                lines = "".join(f"{each}\n" for each in records)
                bucket.write(f"{folder}/{stamp}-{uuid.uuid4()}.jsonl", lines.encode())
                del taken[folder]
        finally:
            self._again(taken)

    def _again(self, kept: dict[str, list[str]]) -> None:
        """What could not be stored waits for the next time."""
        with self._lock:
            for folder, records in kept.items():
                self._records[folder] = records + self._records[folder]


def _side(name: str, side: Side, types: Document) -> Document:
    kind = side.content_type.partition(";")[0].strip().lower()
    if kind in types.get("CsvContentTypes", ()):
        encoding, data = "CSV", side.body.decode(errors="replace")
    elif kind in types.get("JsonContentTypes", ()):
        encoding, data = "JSON", side.body.decode(errors="replace")
    else:
        encoding, data = "BASE64", base64.b64encode(side.body).decode()
    return {
        "observedContentType": side.content_type,
        "mode": name.upper(),
        "data": data,
        "encoding": encoding,
    }


def _time(stamp: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(stamp))
