"""A container registry by the OCI's distribution specification, over files: what clouds' own registries have in common.

Which hosts it has, who may come in and which repositories there are is each cloud's own. Layers go to files as they
come, and are not held in memory. An engine of this machine fetches what was pushed from the loopback, where the host
is part of the name: ``127.0.0.1:PORT/HOST/NAME:TAG``.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cloudml.emulation.http import Answer, Request
from cloudml.emulation.ports import LOOPBACK

NAMED = re.compile(r"/v2/(?P<repository>[a-z0-9._/-]+?)/(?P<part>blobs|manifests|tags)/(?P<reference>[^?]*)")
INSIDE = re.compile(r"/v2/([^/]+\.[^/]+)(/.+)")
IMAGE = re.compile(r"([^/]+)/([a-z0-9._/-]+)(?::([\w.-]+)|@(sha256:[0-9a-f]{64}))?")
DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
API = {"Docker-Distribution-Api-Version": "registry/2.0"}


@dataclass(frozen=True)
class Asked:
    """What a path names: ``part`` of a repository is ``blobs``, ``manifests`` or ``tags``."""

    repository: str
    part: str
    reference: str

    @classmethod
    def parse(cls, path: str) -> Asked | None:
        match = NAMED.fullmatch(path)
        return cls(*match.groups()) if match else None


@dataclass(frozen=True)
class Image:
    """An image's name, taken apart; ``reference`` is a tag (``latest`` where there is none) or a digest."""

    host: str
    repository: str
    reference: str

    @classmethod
    def parse(cls, name: str) -> Image | None:
        match = IMAGE.fullmatch(name)
        return cls(match[1], match[2], match[3] or match[4] or "latest") if match else None

    def fetched(self, port: int) -> str:
        """What an engine of this machine calls it."""
        mark = "@" if DIGEST.fullmatch(self.reference) else ":"
        return f"{LOOPBACK}:{port}/{self.host}/{self.repository}{mark}{self.reference}"


def inside(request: Request) -> tuple[str, str] | None:
    """The host and the path that an engine which fetches an image means; None for any other request."""
    match = INSIDE.fullmatch(request.path) if request.method in ("GET", "HEAD") else None
    return (match[1], f"/v2{match[2]}") if match and request.host == LOOPBACK else None


def greeting() -> Answer:
    """What ``/v2/`` answers to whoever may come in."""
    return Answer(200, {}, API)


def error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, {"errors": [{"code": code, "message": message}]}, {**API, **(headers or {})})


class Shelf:
    """The files of one repository: blobs by their hash, shared by all of a folder; manifests with their type; tags."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self._blobs, self._uploads = folder / "blobs", folder / "uploads"
        self._manifests, self._tags = folder / "manifests" / name / "_all", folder / "manifests" / name / "_tags"
        for place in (self._blobs, self._uploads, self._manifests, self._tags):
            place.mkdir(parents=True, exist_ok=True)

    def answer(self, request: Request, asked: Asked, body: Iterator[bytes]) -> Answer:
        """What the registry says to a request for this repository, whose body is read as it comes."""
        if asked.part == "blobs":
            return self._blob(request, asked.reference, body)
        if asked.part == "tags":
            return Answer(200, {"name": self.name, "tags": self.tags()}, API)
        if request.method == "PUT":
            return self._put(asked.reference, request.headers.get("content-type", ""), b"".join(body))
        found = self.get(asked.reference)
        if found is None:
            text = f"manifest {asked.reference} is not in repository {self.name}"
            return error(404, "MANIFEST_UNKNOWN", text)
        digest, kind, content = found
        return Answer(200, content, API | {"Content-Type": kind, "Docker-Content-Digest": digest})

    def tags(self) -> list[str]:
        return sorted(path.name for path in self._tags.iterdir())

    def get(self, reference: str) -> tuple[str, str, bytes] | None:
        """Digest, type and content of a manifest, by its digest or a tag."""
        match, tag = DIGEST.fullmatch(reference), self._tags / reference
        name = match[1] if match else tag.read_text() if tag.is_file() else ""
        path = self._manifests / name
        if not name or not path.is_file():
            return None
        found = json.loads(path.read_text())
        return f"sha256:{name}", found["type"], found["content"].encode()

    def manifests(self) -> Iterator[tuple[str, str, bytes]]:
        """Digest, type and content of each."""
        for path in sorted(self._manifests.iterdir()):
            if found := self.get(f"sha256:{path.name}"):
                yield found

    def clear(self) -> None:
        """Nothing is pushed to it any more; blobs stay, for they may be another's."""
        shutil.rmtree(self._manifests.parent, ignore_errors=True)

    # -- blobs: layers and configurations ----------------------------------------------------------------------------

    def _blob(self, request: Request, reference: str, body: Iterator[bytes]) -> Answer:
        if reference.startswith("uploads/"):
            return self._upload(request, reference.removeprefix("uploads/"), body)
        match = DIGEST.fullmatch(reference)
        path = self._blobs / match[1] if match else None
        if path is None or not path.is_file():
            return error(404, "BLOB_UNKNOWN", f"blob {reference} is not in the registry")
        kind = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": reference}
        return Answer(200, None, API | kind, file=path)

    def _upload(self, request: Request, id: str, body: Iterator[bytes]) -> Answer:
        """In one piece or in several; asked for by GET, it says how far it has come."""
        if request.method == "POST":
            id = uuid.uuid4().hex
            (self._uploads / id).touch()
        path = self._uploads / id
        if not re.fullmatch("[0-9a-f]{32}", id) or not path.is_file():
            return error(404, "BLOB_UPLOAD_UNKNOWN", "there is no such upload")
        if request.method == "DELETE":
            path.unlink()
            return Answer(204, None, API)
        with path.open("ab") as file:
            for piece in body:
                file.write(piece)
        if "digest" in request.query:
            return self._finished(path, request.query["digest"])
        place = {"Location": f"/v2/{self.name}/blobs/uploads/{id}", "Range": f"0-{max(0, path.stat().st_size - 1)}"}
        return Answer(204 if request.method == "GET" else 202, None, API | place | {"Docker-Upload-UUID": id})

    def _finished(self, path: Path, digest: str) -> Answer:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != f"sha256:{found}":
            path.unlink()
            return error(400, "DIGEST_INVALID", f"the upload's digest is sha256:{found}, not {digest}")
        path.replace(self._blobs / found)
        place = {"Location": f"/v2/{self.name}/blobs/{digest}", "Docker-Content-Digest": digest}
        return Answer(201, None, API | place)

    # -- manifests ---------------------------------------------------------------------------------------------------

    def _put(self, reference: str, kind: str, content: bytes) -> Answer:
        try:
            parts = json.loads(content)
            wanted = [each["digest"] for each in [*parts.get("layers", ()), *filter(None, [parts.get("config")])]]
        except (ValueError, KeyError, TypeError, AttributeError):
            return error(400, "MANIFEST_INVALID", "the manifest cannot be read")
        missing = [each for each in wanted if not (self._blobs / each.removeprefix("sha256:")).is_file()]
        if missing:
            return error(400, "MANIFEST_BLOB_UNKNOWN", f"blob {missing[0]} of the manifest is not in the registry")
        name = hashlib.sha256(content).hexdigest()
        (self._manifests / name).write_text(json.dumps({"type": kind, "content": content.decode()}))
        if not DIGEST.fullmatch(reference):
            (self._tags / reference).write_text(name)
        place = {"Location": f"/v2/{self.name}/manifests/sha256:{name}", "Docker-Content-Digest": f"sha256:{name}"}
        return Answer(201, None, API | place)


def stored(folder: Path, prefix: str) -> Iterator[Shelf]:
    """The repositories of a folder whose names begin so, and that something was pushed to."""
    below = folder / "manifests" / prefix
    for manifests in sorted(below.rglob("_all")):
        yield Shelf(folder, f"{prefix}{manifests.parent.relative_to(below)}")
