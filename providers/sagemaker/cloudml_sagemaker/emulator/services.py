"""The other services of the emulated AWS, as SageMaker uses them: S3, CloudWatch, its logs, IAM.

They are reached by boto3 at one address, so that any emulator of them will do.
"""

from __future__ import annotations

import shutil
import tarfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError

from cloudml_sagemaker.emulator.signing import access_key

CONFIG = Config(
    retries={"total_max_attempts": 2, "mode": "standard"}, s3={"addressing_style": "path"}, max_pool_connections=32
)
MISSING = ("NoSuchBucket", "NoSuchKey", "404", "NoSuchEntity")
MARK = "cloudml-emulator"  # in the user agent: SageMaker's own calls meet no ordered fault


class Services:
    """Clients of one address, one for each service, account and region."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = botocore.session.Session()
        self._clients: dict[tuple[str, str, str], Any] = {}
        self._lock = threading.Lock()

    def client(self, service: str, account: str, region: str) -> Any:
        with self._lock:
            key = (service, account, region)
            if key not in self._clients:
                self._clients[key] = self._session.create_client(
                    service,
                    region_name=region,
                    endpoint_url=self._url,
                    aws_access_key_id=access_key(account),
                    aws_secret_access_key="emulator",
                    config=CONFIG.merge(Config(user_agent_extra=MARK)),
                )
            return self._clients[key]

    def close(self) -> None:
        for client in self._clients.values():
            client.close()


def empty(services: Services, account: str, region: str, keep: str) -> None:
    """Removes every object of an account in all its versions, and every bucket but the one to keep."""
    s3 = services.client("s3", account, region)
    for name in [str(each["Name"]) for each in s3.list_buckets()["Buckets"]]:
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=name):
            found = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
            if found:
                gone = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in found]
                s3.delete_objects(Bucket=name, Delete={"Objects": gone, "Quiet": True})
        if name != keep:
            s3.delete_bucket(Bucket=name)


class Bucket:
    """S3 as one account sees it."""

    def __init__(self, services: Services, account: str, region: str) -> None:
        self._s3, self._region = services.client("s3", account, region), region

    def list(self, uri: str) -> list[Mapping[str, Any]]:
        """The objects under a prefix, by key. Raises LookupError if there is no such bucket."""
        bucket, prefix = split(uri)
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        try:
            found = [each for page in pages for each in page.get("Contents", ())]
        except ClientError as error:
            raise _translated(error, uri) from error
        return sorted(found, key=lambda each: str(each["Key"]))

    def elsewhere(self, uri: str) -> str | None:
        """The region of the bucket, if it is another than this one."""
        try:
            found = self._s3.get_bucket_location(Bucket=split(uri)[0])["LocationConstraint"] or "us-east-1"
        except ClientError as error:
            raise _translated(error, uri) from error
        return found if found != self._region else None

    def fetch(self, uri: str, folder: Path, keys: Sequence[str]) -> None:
        """Copies objects below ``uri`` into a folder, under the names that they have after the prefix."""
        bucket, prefix = split(uri)
        for key in keys:
            path = folder / (key[len(prefix) :].lstrip("/") or key.rpartition("/")[2])
            if key.endswith("/"):
                continue
            if folder.resolve() not in path.resolve().parents:
                raise ValueError(f"the key {key!r} leads out of its folder")
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                shutil.copyfileobj(self._s3.get_object(Bucket=bucket, Key=key)["Body"], file)

    def read(self, uri: str) -> bytes:
        """One object. Raises LookupError."""
        bucket, key = split(uri)
        try:
            body: bytes = self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except ClientError as error:
            raise _translated(error, uri) from error
        return body

    def write(self, uri: str, body: bytes) -> None:
        bucket, key = split(uri)
        try:
            self._s3.put_object(Bucket=bucket, Key=key, Body=body)
        except ClientError as error:
            raise _translated(error, uri) from error

    def write_file(self, uri: str, path: Path) -> None:
        bucket, key = split(uri)
        try:
            with path.open("rb") as file:
                self._s3.put_object(Bucket=bucket, Key=key, Body=file)
        except ClientError as error:
            raise _translated(error, uri) from error

    def write_folder(self, uri: str, folder: Path, sent: dict[str, tuple[int, int]] | None = None) -> None:
        """Every file of a folder; with ``sent``, only what is new since, which is noted there."""
        for path, name in files(folder):
            mark = (path.stat().st_mtime_ns, path.stat().st_size)
            if sent is None or sent.get(name) != mark:
                self.write_file(f"{uri.rstrip('/')}/{name}", path)
                if sent is not None:
                    sent[name] = mark


def split(uri: str) -> tuple[str, str]:
    """Bucket and key of ``s3://bucket/key`` or of an https address with the bucket in its path."""
    parts = urlparse(uri)
    if parts.scheme == "s3":
        return parts.netloc, parts.path[1:]
    bucket, _, key = parts.path[1:].partition("/")
    return bucket, key


def files(folder: Path) -> Iterator[tuple[Path, str]]:
    """The files below a folder, with their names relative to it."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path, path.relative_to(folder).as_posix()


def pack(folder: Path, archive: Path) -> None:
    """A .tar.gz with what is in a folder, as SageMaker makes them."""
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name)


def unpack(archive: Path, folder: Path) -> None:
    """Raises ValueError for what is no archive, or leads out of the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive, "r:*") as tar:
            tar.extractall(folder, filter="data")
    except tarfile.FilterError as error:
        member = getattr(error, "tarinfo", None)
        raise ValueError(f"its member {member.name if member else ''!r} leads out of the archive") from error
    except tarfile.TarError as error:
        raise ValueError(str(error)) from error


def _translated(error: ClientError, uri: str) -> Exception:
    code = error.response["Error"]["Code"]
    return LookupError(uri) if code in MISSING else PermissionError(f"{uri}: {error}")
