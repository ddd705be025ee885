"""The hosts of ECR, ``ACCOUNT.dkr.ecr.REGION.amazonaws.com``: a registry by the OCI's distribution specification.

It has ECR's login, and takes images for repositories that ECR, which is moto's, knows; a manifest that is pushed is
told to it. Layers go to files as they come, and are not held in memory.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs

from botocore.exceptions import ClientError

from cloudml_sagemaker.emulator.accounts import World
from cloudml_sagemaker.emulator.front import Answer, Request

HOST = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?::\d+)?")
NAMED = re.compile(r"/v2/(?P<name>[a-z0-9._/-]+?)/(?P<part>blobs|manifests|tags)/(?P<reference>[^?]*)")
# What an engine of this machine asks on the loopback: the host is part of the name.
INSIDE = re.compile(r"/v2/(\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com)/(.+)")
IMAGE = re.compile(r"([^/]+)/([a-z0-9._/-]+)(?::([\w.-]+)|@(sha256:[0-9a-f]{64}))")
DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
API = {"Docker-Distribution-Api-Version": "registry/2.0"}
JSON = {"Content-Type": "application/json"}


class Registry:
    """Answers requests to every registry of the emulated ECR; each account's files are its own."""

    def __init__(self, world: World) -> None:
        self._world = world

    def stream(self, request: Request, body: Iterator[bytes]) -> Answer:
        """The answer to a request whose body is read as it comes."""
        inside = INSIDE.fullmatch(request.target)
        if inside and request.method in ("GET", "HEAD"):  # an engine that fetches an image to run it
            request = replace(request, host=inside[1], target=f"/v2/{inside[2]}")
        host = HOST.fullmatch(request.host)
        if host and not inside and (refused := _refused(request, host[1])):
            return refused
        if request.path in ("/v2", "/v2/"):
            return Answer(200, API | JSON, b"{}")
        if not host:
            return _error(404, "UNSUPPORTED", f"{request.host} is no registry")
        named = NAMED.fullmatch(request.path)
        if not named:
            return _error(404, "UNSUPPORTED", f"{request.path} is nothing that a registry has")
        name, part, reference = named.groups()
        if not self._exists(host[1], host[2], name):
            text = f"The repository with name '{name}' does not exist in the registry with id '{host[1]}'"
            return _error(404, "NAME_UNKNOWN", text)
        shelf = _Shelf(self._world.site.folder / "registry" / host[1] / host[2], name)
        if part == "blobs":
            return _blob(shelf, request, reference, body)
        if part == "tags":
            return Answer(200, API | JSON, json.dumps({"name": name, "tags": shelf.tags()}).encode())
        content = b"".join(body)
        answer = _manifest(shelf, request, reference, content)
        if answer.status == 201:
            self._tell(host[1], host[2], name, reference, request.headers.get("content-type", ""), content)
        return answer

    def local(self, image: str, port: int) -> str:
        """The name under which an engine of this machine gets an image that was pushed; any other stays as it is."""
        match = IMAGE.fullmatch(image)
        host = HOST.fullmatch(match[1]) if match else None
        if not match or not host:
            return image
        shelf = _Shelf(self._world.site.folder / "registry" / host[1] / host[2], match[2])
        mark = ":" if match[3] else "@"
        pushed = shelf.get(match[3] or match[4])
        return f"127.0.0.1:{port}/{match[1]}/{match[2]}{mark}{match[3] or match[4]}" if pushed else image

    def _exists(self, account: str, region: str, name: str) -> bool:
        try:
            self._world.services.client("ecr", account, region).describe_repositories(repositoryNames=[name])
        except ClientError:
            return False
        return True

    def _tell(self, account: str, region: str, name: str, reference: str, kind: str, manifest: bytes) -> None:
        """ECR's own list of images has it too."""
        tag = {} if DIGEST.fullmatch(reference) else {"imageTag": reference}
        with suppress(ClientError):  # the same manifest once more
            self._world.services.client("ecr", account, region).put_image(
                repositoryName=name,
                imageManifest=manifest.decode(),
                imageManifestMediaType=kind,
                imageDigest=f"sha256:{hashlib.sha256(manifest).hexdigest()}",
                **tag,
            )


class _Shelf:
    """The files of one repository: blobs by their hash, shared by all; manifests with their type; tags."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.blobs, self.uploads = folder / "blobs", folder / "uploads"
        self._manifests, self._tags = folder / "repositories" / name / "_manifests", folder / "repositories" / name
        for place in (self.blobs, self.uploads, self._manifests, self._tags / "_tags"):
            place.mkdir(parents=True, exist_ok=True)

    def tags(self) -> list[str]:
        return sorted(path.name for path in (self._tags / "_tags").iterdir())

    def put(self, reference: str, kind: str, content: bytes) -> str:
        """Stores a manifest; its digest."""
        name = hashlib.sha256(content).hexdigest()
        (self._manifests / name).write_text(json.dumps({"type": kind, "content": content.decode()}))
        if not DIGEST.fullmatch(reference):
            (self._tags / "_tags" / reference).write_text(name)
        return f"sha256:{name}"

    def get(self, reference: str) -> tuple[str, str, bytes] | None:
        """Digest, type and content of a manifest."""
        match = DIGEST.fullmatch(reference)
        tag = self._tags / "_tags" / reference
        name = match[1] if match else tag.read_text() if tag.is_file() else ""
        path = self._manifests / name
        if not name or not path.is_file():
            return None
        found = json.loads(path.read_text())
        return f"sha256:{name}", found["type"], found["content"].encode()


def _blob(shelf: _Shelf, request: Request, reference: str, body: Iterator[bytes]) -> Answer:
    """A layer or configuration: asked for, or uploaded, in one piece or in several."""
    if reference.startswith("uploads/"):
        return _upload(shelf, request, reference.removeprefix("uploads/"), body)
    match = DIGEST.fullmatch(reference)
    path = shelf.blobs / match[1] if match else None
    if path is None or not path.is_file():
        return _error(404, "BLOB_UNKNOWN", f"blob {reference} is not in the registry")
    kind = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": reference}
    return Answer(200, API | kind, file=path)


def _upload(shelf: _Shelf, request: Request, id: str, body: Iterator[bytes]) -> Answer:
    query = {name: values[0] for name, values in parse_qs(request.query).items()}
    if request.method == "POST":
        id = uuid.uuid4().hex
        (shelf.uploads / id).touch()
    path = shelf.uploads / id
    if not re.fullmatch("[0-9a-f]{32}", id) or not path.is_file():
        return _error(404, "BLOB_UPLOAD_UNKNOWN", "there is no such upload")
    if request.method == "DELETE":
        path.unlink()
        return Answer(204, API)
    with path.open("ab") as file:
        for piece in body:
            file.write(piece)
    if "digest" in query:
        return _finished(shelf, path, query["digest"])
    size = path.stat().st_size
    place = {"Location": f"/v2/{shelf.name}/blobs/uploads/{id}", "Range": f"0-{max(0, size - 1)}"}
    return Answer(202, API | place | {"Docker-Upload-UUID": id})


def _finished(shelf: _Shelf, path: Path, digest: str) -> Answer:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != f"sha256:{found}":
        path.unlink()
        return _error(400, "DIGEST_INVALID", f"the upload's digest is sha256:{found}, not {digest}")
    path.replace(shelf.blobs / found)
    place = {"Location": f"/v2/{shelf.name}/blobs/{digest}", "Docker-Content-Digest": digest}
    return Answer(201, API | place)


def _manifest(shelf: _Shelf, request: Request, reference: str, content: bytes) -> Answer:
    if request.method == "PUT":
        return _put(shelf, request, reference, content)
    found = shelf.get(reference)
    if found is None:
        return _error(404, "MANIFEST_UNKNOWN", f"manifest {reference} is not in repository {shelf.name}")
    digest, kind, text = found
    return Answer(200, API | {"Content-Type": kind, "Docker-Content-Digest": digest}, text)


def _put(shelf: _Shelf, request: Request, reference: str, content: bytes) -> Answer:
    try:
        parts = json.loads(content)
        wanted = [each["digest"] for each in [*parts.get("layers", ()), *filter(None, [parts.get("config")])]]
    except (ValueError, KeyError, TypeError, AttributeError):
        return _error(400, "MANIFEST_INVALID", "the manifest cannot be read")
    missing = [each for each in wanted if not (shelf.blobs / each.removeprefix("sha256:")).is_file()]
    if missing:
        return _error(400, "MANIFEST_BLOB_UNKNOWN", f"blob {missing[0]} of the manifest is not in the registry")
    digest = shelf.put(reference, request.headers.get("content-type", ""), content)
    return Answer(201, API | {"Location": f"/v2/{shelf.name}/manifests/{digest}", "Docker-Content-Digest": digest})


def _refused(request: Request, account: str) -> Answer | None:
    """ECR's login: the user AWS with the token of GetAuthorizationToken."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        realm = f'Basic realm="https://{request.host}/",service="ecr.amazonaws.com"'
        return _error(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": realm})
    with suppress(ValueError):
        if base64.b64decode(token).decode() == f"AWS:{account}-auth-token":
            return None
    return _error(403, "DENIED", "Your authorization token is not valid. Reauthenticate and try again.")


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Answer:
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return Answer(status, API | JSON | (headers or {}), body)
