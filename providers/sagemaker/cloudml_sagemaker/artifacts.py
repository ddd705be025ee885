"""Files and folders in one bucket, under one prefix.

A file is one object, so it is there whole or not at all. A folder is announced by the object ``<key>.partial``, which
goes when its last file is there: whoever finds it beside the folder knows that the upload was cut off.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

from cloudml import content
from cloudml.errors import Invalid
from cloudml.spi import Caller
from cloudml_sagemaker.account import Account
from cloudml_sagemaker.tags import pages

PARTIAL = ".partial"
TOGETHER = 16  # uploads at once
BATCH = 1000  # objects that one DeleteObjects takes


class S3Artifacts:
    def __init__(self, account: Account, caller: Caller) -> None:
        self._account = account
        self._call = caller

    def uri(self, key: str) -> str:
        return self._account.uri(key)

    def missing(self, keys: Iterable[str]) -> set[str]:
        return {key for key in keys if not self._whole(self._name(key))}

    def put(self, key: str, source: Path | bytes) -> str:
        name = self._name(key)
        if isinstance(source, bytes):
            self._write(name, source)
        elif source.is_file():
            self._upload(name, source)
        else:
            self._put_folder(name, source)
        return self.uri(key)

    def open(self, uri: str) -> IO[bytes]:
        bucket, name = split(uri)
        return io.BytesIO(self._call.read("GetObject", lambda: self._get(bucket, name)))

    def list(self, prefix: str) -> Iterator[str]:
        root = self._name(prefix)
        for name in self.names(root):
            if name == root or name.startswith(root.rstrip("/") + "/"):
                yield f"s3://{self._account.bucket}/{name}"

    def delete(self, uri: str) -> None:
        _, root = split(uri)
        root = root.rstrip("/")
        under = root + "/"
        self.remove(name for name in self.names(root) if name in (root, root + PARTIAL) or name.startswith(under))

    def remove(self, names: Iterable[str]) -> None:
        """Deletes objects, a thousand at once. Raises Invalid for the first that S3 keeps."""
        found = list(names)
        for at in range(0, len(found), BATCH):
            asked = {"Objects": [{"Key": name} for name in found[at : at + BATCH]], "Quiet": True}
            answer = self._call.write("DeleteObjects", self._asking("delete_objects", Delete=asked))
            for error in answer.get("Errors", ()):
                raise Invalid(f"{error['Key']} is not deleted: {error.get('Message') or error['Code']}")

    def names(self, prefix: str) -> Sequence[str]:
        """The objects whose names begin so."""
        return [*self.sizes(prefix)]

    def sizes(self, prefix: str) -> Mapping[str, int]:
        """The objects whose names begin so, with their bytes."""
        asked = {"Bucket": self._account.checked_bucket, "Prefix": prefix}
        s3 = self._account.clients["s3"]
        found = self._call.read("ListObjectsV2", lambda: [*pages(s3, "list_objects_v2", "Contents", **asked)])
        return {each["Key"]: each["Size"] for each in found}

    def _name(self, key: str) -> str:
        return f"{self._account.prefix}/{key}"

    def _whole(self, name: str) -> bool:
        under = self._call.read("ListObjectsV2", self._asking("list_objects_v2", Prefix=f"{name}/", MaxKeys=1))
        if under.get("KeyCount", 0):
            return not self._exists(name + PARTIAL)
        return self._exists(name)

    def _exists(self, name: str) -> bool:
        return self._call.find("HeadObject", self._asking("head_object", Key=name)) is not None

    def _put_folder(self, name: str, folder: Path) -> None:
        found = list(content.files(folder))
        self._write(name + PARTIAL, b"")
        with ThreadPoolExecutor(TOGETHER) as pool:
            list(pool.map(lambda each: self._upload(f"{name}/{each[0]}", each[1]), found))
        self.remove([name + PARTIAL])

    def _write(self, name: str, body: bytes) -> None:
        self._call.write("PutObject", self._asking("put_object", Key=name, Body=body))

    def _upload(self, name: str, path: Path) -> None:
        """Large files in parts, by boto3's own transfer; nothing is seen of it until its last part is there."""
        s3, bucket = self._account.clients["s3"], self._account.checked_bucket
        if path.stat().st_size < 8 << 20:
            return self._write(name, path.read_bytes())
        self._call.write("UploadFile", lambda: s3.upload_file(str(path), bucket, name))
        return None

    def _get(self, bucket: str, name: str) -> bytes:
        body: bytes = self._account.clients["s3"].get_object(Bucket=bucket, Key=name)["Body"].read()
        return body

    def _asking(self, operation: str, **asked: Any) -> Callable[[], Any]:
        """One request to our bucket, to be made by the caller."""
        bucket, s3 = self._account.checked_bucket, self._account.clients["s3"]
        return lambda: getattr(s3, operation)(Bucket=bucket, **asked)


def split(uri: str) -> tuple[str, str]:
    """``s3://bucket/key`` as bucket and key."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key
