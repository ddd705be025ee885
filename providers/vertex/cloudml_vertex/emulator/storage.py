"""Cloud Storage's JSON API over a folder: each object is a file, so that a job that is given the folder under ``/gcs``
and a client of the API see the same things at once.

Preconditions, paging and resumable uploads are the service's; generations are kept for the current object alone. Names
that would be a file and a folder at once, which buckets allow, are refused.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import json
import re
import shutil
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloudml.emulation.http import Answer, Request
from cloudml_vertex.emulator.checksum import crc32c
from cloudml_vertex.emulator.problems import Problem

BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
TAKEN = "caip-tenant-models"  # the service's own bucket: artifacts as they were when a model was uploaded
PAGE = 1000
CONDITIONS: Mapping[str, tuple[int, bool]] = {  # on the generation or the metageneration; that it is, or is not
    "ifGenerationMatch": (0, True),
    "ifGenerationNotMatch": (0, False),
    "ifMetagenerationMatch": (1, True),
    "ifMetagenerationNotMatch": (1, False),
}
ROUTE = re.compile(
    r"/(?:(?P<upload>upload|resumable/upload|download)/)?storage/v1/b"
    r"(?:/(?P<bucket>[^/]+)(?:/o(?:/(?P<object>[^/]+)(?P<rest>/.*)?)?)?)?/?"
)


@dataclass
class Meta:
    """What a file system does not keep of an object."""

    generation: int
    kind: str
    created: float
    metadata: Mapping[str, str]
    metageneration: int
    stamp: int  # the file's time of change when this was written: a job may have written it since
    size: int
    md5: str
    crc32c: str


@dataclass
class Session:
    """A resumable upload; ``query`` holds its preconditions."""

    bucket: str
    name: str
    kind: str
    metadata: Mapping[str, str]
    query: Mapping[str, str]
    body: bytearray


class Buckets:
    """The folder behind all buckets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._meta: dict[tuple[str, str], Meta] = {}
        self._drafts = folder.with_name("drafts")  # what is being written is no object yet
        self._drafts.mkdir(exist_ok=True)
        self._sessions: dict[str, Session] = {}
        self._generation = time.time_ns() // 1000

    # -- for the other parts -----------------------------------------------------------------------------------------

    def make(self, bucket: str) -> None:
        (self.folder / bucket).mkdir(exist_ok=True)

    def check_folder(self, uri: str) -> None:
        """Raises Problem if nothing is under a ``gs://`` URI."""
        bucket, _, key = uri.removeprefix("gs://").partition("/")
        place = self.folder / bucket / key
        if not uri.startswith("gs://") or not place.exists() or not any(place.rglob("*")):
            raise Problem("INVALID_ARGUMENT", f"Model directory {uri} is expected to contain at least one object.")

    def take_in(self, uri: str, version: str) -> None:
        """Keeps a copy of a model's artifact, which then does not change any more."""
        bucket, _, key = uri.removeprefix("gs://").partition("/")
        self.make(TAKEN)
        target = self.folder / TAKEN / _digest(version) / "artifacts"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.folder / bucket / key, target)

    def taken_in(self, version: str) -> str:
        return f"gs://{TAKEN}/{_digest(version)}/artifacts"

    def drop(self, version: str) -> None:
        shutil.rmtree(self.folder / TAKEN / _digest(version), ignore_errors=True)

    def clear(self) -> None:
        with self._lock:
            for bucket in self.folder.iterdir():
                shutil.rmtree(bucket)
            self._meta.clear()
            self._sessions.clear()

    def summary(self) -> Mapping[str, int]:
        return {each.name: len(self._keys(each.name, "")) for each in sorted(self.folder.iterdir())}

    # -- the API -----------------------------------------------------------------------------------------------------

    def respond(self, request: Request) -> Answer:
        with self._lock:
            match = ROUTE.fullmatch(request.path)
            if match is None:
                raise Problem("NOT_FOUND", "Not Found")
            bucket, key = match["bucket"], urllib.parse.unquote(match["object"] or "")
            if match["upload"] and match["upload"] != "download":
                return self._upload(request, str(bucket))
            if bucket is None:
                return self._buckets(request)
            if key:
                return self._object(request, bucket, key, match["rest"] or "")
            if request.path.rstrip("/").endswith("/o"):
                return self._list(request, bucket)
            return self._bucket(request, bucket)

    def _buckets(self, request: Request) -> Answer:
        if request.method == "POST":
            name = str(json.loads(request.body).get("name", ""))
            if not BUCKET.fullmatch(name):
                raise Problem("INVALID_ARGUMENT", f"Invalid bucket name: {name!r}")
            if (self.folder / name).exists():
                raise Problem(
                    "ALREADY_EXISTS",
                    "Your previous request to create the named bucket succeeded and you already own it.",
                )
            self.make(name)
            return Answer(200, _bucket(name))
        names = sorted(each.name for each in self.folder.iterdir() if each.name != TAKEN)
        return Answer(200, {"kind": "storage#buckets", "items": [_bucket(name) for name in names]})

    def _bucket(self, request: Request, bucket: str) -> Answer:
        self._there(bucket)
        if request.method == "DELETE":
            if self._keys(bucket, ""):
                raise Problem("ALREADY_EXISTS", "The bucket you tried to delete is not empty.")
            shutil.rmtree(self.folder / bucket)
            return Answer(204)
        return Answer(200, _bucket(bucket))

    def _list(self, request: Request, bucket: str) -> Answer:
        self._there(bucket)
        query = request.query
        if query.get("matchGlob") or query.get("versions") == "true":
            raise Problem("UNIMPLEMENTED", "matchGlob and versions are not emulated.")
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        start = query.get("pageToken") or query.get("startOffset", "")
        end = query.get("endOffset", "")
        names = [key for key in self._keys(bucket, prefix) if key >= start and (not end or key < end)]
        found: list[str] = []
        prefixes: set[str] = set()
        size = min(int(query.get("maxResults") or PAGE), PAGE)
        token = ""
        for name in names:
            inner = name[len(prefix) :]
            if delimiter and delimiter in inner:
                prefixes.add(prefix + inner.partition(delimiter)[0] + delimiter)
                continue
            if len(found) == size:
                token = name
                break
            found.append(name)
        document = {"kind": "storage#objects", "items": [self._resource(bucket, name) for name in found]}
        return Answer(200, {**document, "prefixes": sorted(prefixes), **({"nextPageToken": token} if token else {})})

    def _object(self, request: Request, bucket: str, key: str, rest: str) -> Answer:
        self._there(bucket)
        if rest:
            return self._copy(request, bucket, key, rest)
        path = self._path(bucket, key)
        if not path.is_file():
            raise Problem("NOT_FOUND", f"No such object: {bucket}/{key}")
        if request.query.get("generation", current := str(self._of(bucket, key).generation)) != current:
            raise Problem("NOT_FOUND", f"No such object: {bucket}/{key}#{request.query['generation']}")
        self._precondition(request.query, bucket, key)
        if request.method == "DELETE":
            self._remove(bucket, key)
            return Answer(204)
        if request.method == "PATCH":
            meta, given = self._of(bucket, key), json.loads(request.body)
            meta.kind = given.get("contentType", meta.kind)
            wanted = {**meta.metadata, **(given.get("metadata") or {})}
            meta.metadata = {name: text for name, text in wanted.items() if text is not None}
            meta.metageneration += 1
            return Answer(200, self._resource(bucket, key))
        if request.query.get("alt") == "media":
            return self._media(request, bucket, key)
        return Answer(200, self._resource(bucket, key))

    def _media(self, request: Request, bucket: str, key: str) -> Answer:
        body, meta = self._path(bucket, key).read_bytes(), self._of(bucket, key)
        headers = {
            "Content-Type": meta.kind,
            "x-goog-generation": str(meta.generation),
            "x-goog-hash": f"crc32c={meta.crc32c},md5={meta.md5}",
        }
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
        if match is None or not (match[1] or match[2]):
            return Answer(200, body, headers)
        end = len(body) - 1
        first = int(match[1]) if match[1] else max(0, len(body) - int(match[2]))  # bytes=-5: the last five
        last = min(int(match[2] or end), end) if match[1] else end
        if first > last:
            return Answer(416, b"", {"Content-Range": f"bytes */{len(body)}"})
        return Answer(206, body[first : last + 1], {**headers, "Content-Range": f"bytes {first}-{last}/{len(body)}"})

    def _copy(self, request: Request, bucket: str, key: str, rest: str) -> Answer:
        """``copyTo`` and ``rewriteTo``, and ``compose``."""
        match = re.fullmatch(r"/(copyTo|rewriteTo)/b/([^/]+)/o/([^/]+)", rest)
        if match is None and rest == "/compose":
            return Answer(200, self._composed(request, bucket, key))
        if match is None:
            raise Problem("NOT_FOUND", "Not Found")
        source = self._path(bucket, key)
        if not source.is_file():
            raise Problem("NOT_FOUND", f"No such object: {bucket}/{key}")
        target, name = match[2], urllib.parse.unquote(match[3])
        meta, given = self._of(bucket, key), json.loads(request.body or b"{}")
        kind, metadata = given.get("contentType", meta.kind), given.get("metadata", meta.metadata)
        made = self._write(target, name, source.read_bytes(), kind, metadata, request.query)
        if match[1] == "copyTo":
            return Answer(200, made)
        size = made["size"]
        done = {"kind": "storage#rewriteResponse", "done": True, "totalBytesRewritten": size, "objectSize": size}
        return Answer(200, {**done, "resource": made})

    def _composed(self, request: Request, bucket: str, key: str) -> dict[str, Any]:
        asked = json.loads(request.body)
        paths = [self._path(bucket, each["name"]) for each in asked["sourceObjects"]]
        for path in paths:
            if not path.is_file():
                raise Problem("NOT_FOUND", f"Object {path.relative_to(self.folder).as_posix()} not found.")
        body, given = b"".join(path.read_bytes() for path in paths), asked.get("destination") or {}
        kind, metadata = given.get("contentType", "application/octet-stream"), given.get("metadata") or {}
        return self._write(bucket, key, body, kind, metadata, request.query)

    # -- uploads -----------------------------------------------------------------------------------------------------

    def _upload(self, request: Request, bucket: str) -> Answer:
        query = request.query
        if session := query.get("upload_id"):
            return self._resume(request, session)
        self._there(bucket)
        if query.get("uploadType") == "media":
            kind = request.headers.get("content-type", "application/octet-stream")
            return Answer(200, self._write(bucket, query["name"], request.body, kind, {}, query))
        if query.get("uploadType") == "multipart":
            given, kind, body = _parts(request)
            name = given.get("name") or query["name"]
            return Answer(
                200, self._write(bucket, name, body, given.get("contentType", kind), given.get("metadata") or {}, query)
            )
        given = json.loads(request.body or b"{}")
        name = given.get("name") or query["name"]
        kind = given.get("contentType") or request.headers.get("x-upload-content-type", "application/octet-stream")
        self._precondition(query, bucket, name)
        session = f"{self._next()}"
        metadata = given.get("metadata") or {}
        self._sessions[session] = Session(bucket, name, kind, metadata, {**query}, bytearray())
        address = f"https://{request.host}{request.path}?uploadType=resumable&upload_id={session}"
        return Answer(200, None, {"Location": address})

    def _resume(self, request: Request, session: str) -> Answer:
        """A piece of an upload, or the question how far it came."""
        if session not in self._sessions:
            raise Problem("NOT_FOUND", "There is no such upload.")
        going = self._sessions[session]
        body = going.body
        match = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", request.headers.get("content-range", ""))
        if match is None or match[1] is not None:
            start = int(match[1]) if match else 0
            if start > len(body):
                return Answer(400)
            body[start:] = request.body
        total = None if match is None or match[3] == "*" else int(match[3])
        if match is None or (total is not None and len(body) >= total):
            del self._sessions[session]
            made = self._write(going.bucket, going.name, bytes(body), going.kind, going.metadata, going.query)
            return Answer(200, made)
        return Answer(308, None, {"Range": f"bytes=0-{len(body) - 1}"} if body else {})

    def _write(
        self, bucket: str, key: str, body: bytes, kind: str, metadata: Mapping[str, str], query: Mapping[str, str]
    ) -> dict[str, Any]:
        self._there(bucket)
        self._precondition(query, bucket, key)
        path = self._path(bucket, key)
        if key.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            return {"kind": "storage#object", "name": key, "bucket": bucket, "size": "0"}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = self._drafts / str(self._next())
            draft.write_bytes(body)
            draft.replace(path)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise Problem(
                    "INVALID_ARGUMENT", f"{key}: a part of it is too long for a file, which a part is here."
                ) from error
            raise Problem(
                "INVALID_ARGUMENT", f"{key} would be an object and a folder at once, which is not emulated."
            ) from error
        self._meta[bucket, key] = self._looked(path, kind, metadata)
        return self._resource(bucket, key)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _there(self, bucket: str) -> None:
        if not BUCKET.fullmatch(bucket) or not (self.folder / bucket).is_dir():
            raise Problem("NOT_FOUND", "The specified bucket does not exist.")

    def _path(self, bucket: str, key: str) -> Path:
        if any(part in (".", "..") for part in key.split("/")) or "//" in key or key.startswith("/"):
            raise Problem("INVALID_ARGUMENT", f"The object name {key!r} is not emulated.")
        return self.folder / bucket / key

    def _keys(self, bucket: str, prefix: str) -> Sequence[str]:
        """In the order of their bytes, as the service lists them."""
        root = self.folder / bucket
        folder = root / prefix.rpartition("/")[0]
        found = (path.relative_to(root).as_posix() for path in _files(folder))
        return sorted((key for key in found if key.startswith(prefix)), key=str.encode)

    def _remove(self, bucket: str, key: str) -> None:
        """An object, and the folders that are empty without it: a bucket has none."""
        path = self._path(bucket, key)
        path.unlink()
        self._meta.pop((bucket, key), None)
        for folder in path.parents:
            if folder == self.folder / bucket or any(folder.iterdir()):
                return
            folder.rmdir()

    def _of(self, bucket: str, key: str) -> Meta:
        """What is known of an object; a file that a job wrote is a new generation."""
        found, stat = self._meta.get((bucket, key)), self._path(bucket, key).stat()
        if found is None or found.stamp != stat.st_mtime_ns:
            found = self._meta[bucket, key] = self._looked(self._path(bucket, key), "application/octet-stream", {})
        return found

    def _looked(self, path: Path, kind: str, metadata: Mapping[str, str]) -> Meta:
        stat, body = path.stat(), path.read_bytes()
        return Meta(
            self._next(), kind, stat.st_mtime, dict(metadata), 1, stat.st_mtime_ns, len(body), _md5(body), crc32c(body)
        )

    def _precondition(self, query: Mapping[str, str], bucket: str, key: str) -> None:
        if not any(name in query for name in CONDITIONS):
            return
        meta = self._of(bucket, key) if self._path(bucket, key).is_file() else None
        there = (meta.generation, meta.metageneration) if meta else (0, 0)
        for name, (which, equal) in CONDITIONS.items():
            if name in query and (int(query[name]) == there[which]) is not equal:
                text = "At least one of the pre-conditions you specified did not hold."
                raise Problem("FAILED_PRECONDITION", text, 412)

    def _resource(self, bucket: str, key: str) -> dict[str, Any]:
        meta = self._of(bucket, key)
        moment = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(meta.created))
        quoted = urllib.parse.quote(key, safe="")
        return {
            "kind": "storage#object",
            "id": f"{bucket}/{key}/{meta.generation}",
            "name": key,
            "bucket": bucket,
            "generation": str(meta.generation),
            "metageneration": str(meta.metageneration),
            "contentType": meta.kind,
            "size": str(meta.size),
            "md5Hash": meta.md5,
            "crc32c": meta.crc32c,
            "timeCreated": moment,
            "updated": moment,
            "storageClass": "STANDARD",
            "metadata": dict(meta.metadata),
            "selfLink": f"https://www.googleapis.com/storage/v1/b/{bucket}/o/{quoted}",
            "mediaLink": f"https://storage.googleapis.com/download/storage/v1/b/{bucket}/o/{quoted}?alt=media",
        }

    def _next(self) -> int:
        self._generation += 1
        return self._generation


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in folder.rglob("*") if path.is_file())


def _bucket(name: str) -> dict[str, Any]:
    return {"kind": "storage#bucket", "id": name, "name": name, "location": "US-CENTRAL1", "projectNumber": "1234"}


def _parts(request: Request) -> tuple[dict[str, Any], str, bytes]:
    """The two parts of a multipart upload: what it is, and the bytes."""
    match = re.search(r"boundary=['\"]?([^'\";]+)", request.headers.get("content-type", ""))
    pieces = request.body.split(b"--" + match[1].encode()) if match else []
    if len(pieces) < 4:
        raise Problem("INVALID_ARGUMENT", "The multipart upload has not two parts.")
    (_, first), (head, body) = (_cut(piece) for piece in pieces[1:3])
    kind = re.search(rb"(?i)content-type:\s*([^\r\n]+)", head)
    return json.loads(first or b"{}"), kind[1].decode() if kind else "application/octet-stream", body


def _cut(piece: bytes) -> tuple[bytes, bytes]:
    """Head and body of a part; both ends of line are in use."""
    end = b"\r\n" if piece.startswith(b"\r\n") else b"\n"
    head, _, body = piece[len(end) :].partition(end + end)
    return head, body.removesuffix(end)


def _md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def _digest(version: str) -> str:
    return hashlib.sha256(version.encode()).hexdigest()[:24]
