"""A model's files from where the platform says they are: ``gs://`` (Vertex leaves it to the container) or ``file://``."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from cloudml.errors import ConfigError
from cloudml.runtime.cloud_storage import Bucket

AT_ONCE = 4
BLOCK = 1 << 20


def fetch(uri: str, folder: Path, env: Mapping[str, str] | None = None) -> Path:
    """The folder that holds the model's files; whole ones only. Raises ConfigError where they cannot be had."""
    scheme, _, place = uri.partition("://")
    if scheme == "file":
        return Path(place)
    if scheme != "gs" or not place:
        raise ConfigError(f"the model is at {uri}, and this image reads gs:// and file:// only", hint="mount the model")
    name, _, prefix = place.rstrip("/").partition("/")
    try:
        _copy(Bucket(name, os.environ if env is None else env), f"{prefix}/" if prefix else "", folder)
    except (OSError, ValueError) as error:  # urllib's errors are OSError
        raise ConfigError(f"the model at {uri} cannot be fetched: {error}") from error
    return folder


def document(uri: str, env: Mapping[str, str] | None = None) -> dict[str, Any] | None:
    """A JSON document at ``gs://``; None if there is none. Raises ConfigError where it cannot be read."""
    name, _, key = uri.removeprefix("gs://").partition("/")
    bucket = Bucket(name, os.environ if env is None else env)
    try:
        if not any(item["name"] == key for item in bucket.items(key)):
            return None
        with bucket.open(key) as answer:
            found: dict[str, Any] = json.load(answer)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{uri} cannot be read: {error}") from error
    return found


def _copy(bucket: Bucket, prefix: str, folder: Path) -> None:
    found = [item for item in bucket.items(prefix) if not item["name"].endswith("/")]
    if not found:
        raise ValueError(f"there is nothing below {prefix or bucket.name}")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda item: _copy_one(bucket, item, prefix, folder), found))


def _copy_one(bucket: Bucket, item: Mapping[str, Any], prefix: str, folder: Path) -> None:
    relative = PurePosixPath(item["name"][len(prefix) :])
    if relative.is_absolute() or ".." in relative.parts:
        raise ValueError(f"{item['name']} would leave the folder")
    target = folder / relative
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f"{target.name}.unfinished")
    total = hashlib.md5(usedforsecurity=False)
    with bucket.open(item["name"]) as answer, open(unfinished, "wb") as file:
        while block := answer.read(BLOCK):
            total.update(block)
            file.write(block)
    if item.get("md5Hash") and base64.b64decode(item["md5Hash"]) != total.digest():
        raise ValueError(f"{item['name']} did not arrive whole")
    shutil.move(str(unfinished), str(target))
