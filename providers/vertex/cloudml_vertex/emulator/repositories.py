"""Artifact Registry's own API, as far as images need it: repositories, and what lies in them.

Fields by the discovery document (``artifactregistry.v1``); operations are done when they are answered.
"""

from __future__ import annotations

import json
import re
import shutil
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cloudml.emulation.http import Answer, Request
from cloudml.emulation.registry import Shelf, stored
from cloudml_vertex.emulator.checks import check_labels, check_name
from cloudml_vertex.emulator.problems import Problem, invalid
from cloudml_vertex.emulator.world import World

COLLECTION = "repositories"
PATH = re.compile(r"/v1/(?P<parent>projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+))/(?P<rest>.+)")
ID = r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
FORMAT = "DOCKER"
TYPE = "type.googleapis.com/google.devtools.artifactregistry.v1."
FIXED = ("name", "createTime", "updateTime", "registryUri", "sizeBytes")  # only the service writes them


class Repositories:
    """By name, as JSON documents; ``folder`` holds what was pushed, by location."""

    def __init__(self, world: World, folder: Path) -> None:
        self._world = world
        self._folder = folder
        self._operations: dict[str, Mapping[str, Any]] = {}

    def respond(self, request: Request) -> Answer:
        """Raises Problem."""
        with self._world.lock:
            return self._answer(request)

    def make(self, project: str, location: str, id: str, **given: Any) -> Mapping[str, Any]:
        name, now = f"projects/{project}/locations/{location}/{COLLECTION}/{id}", _time(time.time())
        row = {
            **{field: value for field, value in given.items() if field not in FIXED},
            "name": name,
            "format": FORMAT,
            "mode": "STANDARD_REPOSITORY",
            "createTime": now,
            "updateTime": now,
            "registryUri": f"{location}-docker.pkg.dev/{project}/{id}",
        }
        self._world.rows(COLLECTION)[name] = row
        return row

    def shelf(self, location: str, image: str) -> Shelf | None:
        """The files of ``PROJECT/REPOSITORY/IMAGE``; None if there is no such repository."""
        project, id, *_ = image.split("/")
        there = f"projects/{project}/locations/{location}/{COLLECTION}/{id}" in self._world.rows(COLLECTION)
        return Shelf(self._folder / location, image) if there else None

    def clear(self) -> None:
        self._operations.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answer(self, request: Request) -> Answer:
        path = PATH.fullmatch(urllib.parse.unquote(request.path))
        if path is None:
            raise Problem("NOT_FOUND", f"{request.method} {request.path} is not emulated.")
        parent, rest = path["parent"], path["rest"].split("/")
        match (request.method, *rest):
            case "POST", "repositories":
                return Answer(200, self._create(request, parent))
            case "GET", "repositories":
                return Answer(200, {COLLECTION: [self._shown(row) for row in self._rows(parent)]})
            case "GET", "repositories", id:
                return Answer(200, self._shown(self._get(parent, id)))
            case "GET", "repositories", id, "dockerImages":
                return Answer(200, {"dockerImages": list(self._images(self._get(parent, id)))})
            case "DELETE", "repositories", id:
                return Answer(200, self._delete(parent, id))
            case "GET", "operations", id if f"{parent}/operations/{id}" in self._operations:
                return Answer(200, self._operations[f"{parent}/operations/{id}"])
        raise Problem("NOT_FOUND", f"{request.method} {request.path} is not there, or not emulated.")

    def _create(self, request: Request, parent: str) -> Mapping[str, Any]:
        id, given = request.query.get("repositoryId", ""), json.loads(request.body or b"{}")
        check_name(id, ID, "repository_id")
        check_labels(given.get("labels", {}))
        if given.get("format") != FORMAT:
            raise invalid(f"The format {given.get('format')!r} is not emulated; {FORMAT} is.")
        if f"{parent}/{COLLECTION}/{id}" in self._world.rows(COLLECTION):
            raise Problem("ALREADY_EXISTS", "the repository already exists")
        _, project, _, location = parent.split("/")
        return self._done(parent, {"@type": f"{TYPE}Repository", **self.make(project, location, id, **given)})

    def _delete(self, parent: str, id: str) -> Mapping[str, Any]:
        row = self._get(parent, id)
        for shelf in self._shelves(row):
            shelf.clear()
        self._world.rows(COLLECTION).pop(row["name"])
        return self._done(parent, {"@type": "type.googleapis.com/google.protobuf.Empty"})

    def _done(self, parent: str, response: Mapping[str, Any]) -> Mapping[str, Any]:
        name = f"{parent}/operations/{self._world.number()}"
        metadata = {"@type": f"{TYPE}OperationMetadata"}
        self._operations[name] = {"name": name, "metadata": metadata, "done": True, "response": response}
        return self._operations[name]

    def _get(self, parent: str, id: str) -> Mapping[str, Any]:
        row: Mapping[str, Any] | None = self._world.rows(COLLECTION).get(f"{parent}/{COLLECTION}/{id}")
        if row is None:
            raise Problem("NOT_FOUND", "Requested entity was not found.")
        return row

    def _rows(self, parent: str) -> list[Mapping[str, Any]]:
        return [row for name, row in sorted(self._world.rows(COLLECTION).items()) if name.startswith(f"{parent}/")]

    def _shown(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**row, "sizeBytes": str(sum(int(each["imageSizeBytes"]) for each in self._images(row)))}

    def _shelves(self, row: Mapping[str, Any]) -> Iterator[Shelf]:
        _, project, _, location, _, id = row["name"].split("/")
        yield from stored(self._folder / location, f"{project}/{id}/")

    def _images(self, row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        prefix = row["registryUri"].partition("/")[2] + "/"
        for shelf in self._shelves(row):
            for digest, kind, content in shelf.manifests():
                name = f"{shelf.name.removeprefix(prefix)}@{digest}"
                parts = json.loads(content)
                yield {
                    "name": f"{row['name']}/dockerImages/{urllib.parse.quote(name, safe='@:')}",
                    "uri": f"{row['registryUri']}/{name}",
                    "tags": [tag for tag in shelf.tags() if (found := shelf.get(tag)) and found[0] == digest],
                    "mediaType": kind,
                    "imageSizeBytes": str(sum(each.get("size", 0) for each in parts.get("layers", ()))),
                }


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
