"""The model data collector: requests and answers as CloudEvents, a line each, by the hour.

The collections ``request`` and ``response`` are kept by the platform itself, as documented for custom containers; other
collections (``model_inputs``) hold what a script logs with Azure's own package, which is not emulated.
"""

from __future__ import annotations

import json
import queue
import random
import threading
import uuid
from datetime import UTC, datetime

from cloudml.emulation.http import Answer
from cloudml.errors import CloudmlError
from cloudml_azureml.emulator.answers import Document, Refused, Request
from cloudml_azureml.emulator.assets import resolved
from cloudml_azureml.emulator.fleet import Fleet
from cloudml_azureml.emulator.places import BLOBS, container, place
from cloudml_azureml.emulator.storage import Storage
from cloudml_azureml.emulator.store import Resource, Workspace

LARGEST = 4 * 1024 * 1024  # bytes of a payload that is kept
FOLDERS = {"Year": "%Y", "Month": "%Y/%m", "Day": "%Y/%m/%d", "Hour": "%Y/%m/%d/%H", "Minute": "%Y/%m/%d/%H/%M"}


class Collector:
    """Writes from a thread of its own, so that nobody waits for a blob."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._waiting: queue.SimpleQueue[tuple[str, str, bytes] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="azureml-collect", daemon=True)
        self._thread.start()

    def keep(
        self, workspace: Workspace, endpoint: Resource, fleet: Fleet, id: str, request: Request, answer: Answer
    ) -> None:
        """Both sides of a request, as far as they are sampled."""
        said: Document = fleet.properties.get("dataCollector") or {}
        collections: Document = said.get("collections") or {}
        drawn = random.random()
        sides = {"request": request.body, "response": answer.body if answer.status == 200 else None}
        for name, body in sides.items():
            wanted = collections.get(name)
            if wanted is None or body is None or len(body) > LARGEST:
                continue
            if wanted.get("dataCollectionMode") != "Enabled" or drawn >= wanted.get("samplingRate", 1.0):
                continue
            source = f"{workspace.id}/onlineEndpoints/{endpoint.name}/deployments/{fleet.deployment.name}"
            line = json.dumps(_event(name, source, id, body)).encode() + b"\n"
            try:
                box, folder = self._folder(workspace, endpoint, fleet, name, wanted)
            except Refused:
                continue  # its asset has been deleted since
            moment = datetime.now(UTC).strftime(FOLDERS[said.get("rollingRate") or "Hour"])
            self._waiting.put(
                (box, f"{folder.strip('/')}/{moment}/{endpoint.name}-{fleet.deployment.name}.jsonl", line)
            )

    def _folder(
        self, workspace: Workspace, endpoint: Resource, fleet: Fleet, name: str, wanted: Document
    ) -> tuple[str, str]:
        if wanted.get("dataId"):
            where = place(workspace, resolved(workspace, wanted["dataId"], "data").properties["dataUri"])
            return where.container, where.path
        return container(workspace, BLOBS), f"modelDataCollector/{endpoint.name}/{fleet.deployment.name}/{name}"

    def _write(self) -> None:
        while (item := self._waiting.get()) is not None:
            try:
                self._storage.append(*item)
            except (CloudmlError, Refused, OSError):
                continue  # as in the service, a line may be lost

    def close(self) -> None:
        self._waiting.put(None)
        self._thread.join()


def _event(name: str, source: str, id: str, body: bytes) -> Document:
    text = body.decode(errors="replace")
    try:
        data = json.loads(text)
    except ValueError:
        data = text
    made = {"specversion": "1.0", "id": str(uuid.uuid4()), "source": source, "type": f"azureml.inference.{name}"}
    made |= {"datacontenttype": "application/json", "time": datetime.now(UTC).isoformat(timespec="milliseconds")}
    made |= {"correlationid": id, "xrequestid": id, "modelversion": "default", "collectdatatype": "json"}
    return {**made, "contentrange": f"bytes 0-{len(body) - 1}/{len(body)}", "data": data}
