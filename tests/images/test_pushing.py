"""Pushing: what is asked before anything is packed, an upload that breaks, what a registry may say."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from registry_server import Memory, registry

from cloudml.errors import (
    CloudmlError,
    ConfigError,
    Denied,
    Invalid,
    NotFound,
    QuotaExceeded,
    Throttled,
    Unauthenticated,
    Unavailable,
)
from cloudml.images.pushing import OfFile, Pushed, push
from cloudml.images.registry import Place

LAYERS = (b"small" * 10, os.urandom(3 << 20), os.urandom(2 << 20))


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def saved(path: Path, layers: tuple[bytes, ...], *, oci: bool = False, packed: bool = False) -> Path:
    """What ``docker save`` writes: older engines a folder a layer, newer ones blobs, some of them packed."""
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha(one)}" for one in layers]}}).encode()
    kept = [gzip.compress(one, mtime=0) if packed else one for one in layers]
    names = [f"blobs/sha256/{sha(one)}" if oci else f"{number:02}abc/layer.tar" for number, one in enumerate(kept)]
    files = dict(zip(names, kept, strict=True))
    files[f"blobs/sha256/{sha(config)}" if oci else f"{sha(config)}.json"] = config
    files["manifest.json"] = json.dumps([{"Config": "c", "Layers": names}]).encode()
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    return path


@pytest.fixture
def there() -> Iterator[tuple[Memory, str]]:
    with registry() as found:
        yield found


@pytest.fixture
def send(there: tuple[Memory, str], tmp_path: Path) -> Callable[..., Pushed]:
    def pushed(file: Path, login: tuple[str, str] | None = None, tag: str = "1") -> Pushed:
        place = f"{there[1]}/team/fraud:{tag}"
        cache = tmp_path / "cache/layers.json"
        return push(OfFile.read(file), place, lambda _: None, lambda _: login, lambda _: None, cache=cache)

    return pushed


def unpacked(memory: Memory, tag: str = "1") -> list[bytes]:
    manifest = json.loads(memory.manifests[tag])
    return [gzip.decompress(memory.blobs[layer["digest"]]) for layer in manifest["layers"]]


@pytest.mark.parametrize(("oci", "packed"), [(False, False), (True, False), (True, True)])
def test_what_arrives_is_the_image(
    oci: bool, packed: bool, there: tuple[Memory, str], send: Callable[..., Pushed], tmp_path: Path
) -> None:
    pushed = send(saved(tmp_path / "image.tar", LAYERS, oci=oci, packed=packed))
    assert unpacked(there[0]) == list(LAYERS)
    assert pushed.digest == "sha256:" + sha(there[0].manifests["1"])
    assert pushed.reference == f"{there[1]}/team/fraud@{pushed.digest}"


def test_a_second_push_asks_by_digest_and_packs_nothing(
    there: tuple[Memory, str], send: Callable[..., Pushed], tmp_path: Path
) -> None:
    first = send(saved(tmp_path / "image.tar", LAYERS))
    there[0].asked.clear()
    second = send(tmp_path / "image.tar")
    assert (second.digest, second.uploaded) == (first.digest, 0)
    assert {line.partition(" ")[0] for line in there[0].asked} == {"HEAD"}


def test_another_model_uploads_its_own_layer_only(
    there: tuple[Memory, str], send: Callable[..., Pushed], tmp_path: Path
) -> None:
    send(saved(tmp_path / "image.tar", LAYERS))
    there[0].starts.clear()
    send(saved(tmp_path / "image.tar", (*LAYERS[:2], b"another model")), tag="2")
    assert len(there[0].starts) == 2  # the layer and the configuration
    assert unpacked(there[0], "2") == [*LAYERS[:2], b"another model"]


def test_a_registry_that_lost_a_layer_gets_it_again(
    there: tuple[Memory, str], send: Callable[..., Pushed], tmp_path: Path
) -> None:
    send(saved(tmp_path / "image.tar", LAYERS))
    lost = json.loads(there[0].manifests["1"])["layers"][1]["digest"]
    del there[0].blobs[lost]
    send(tmp_path / "image.tar", tag="2")
    assert unpacked(there[0], "2") == list(LAYERS)


def test_an_upload_that_breaks_goes_on_where_it_was(
    there: tuple[Memory, str], send: Callable[..., Pushed], tmp_path: Path
) -> None:
    there[0].faults.breaks, there[0].faults.after = 2, 700_000
    send(saved(tmp_path / "image.tar", (LAYERS[1],)))
    assert unpacked(there[0]) == [LAYERS[1]]
    assert 700_000 in there[0].starts


def test_an_upload_that_the_registry_forgot_begins_again(
    there: tuple[Memory, str], send: Callable[..., Pushed], tmp_path: Path
) -> None:
    faults = there[0].faults
    faults.breaks, faults.after, faults.forgets = 1, 700_000, True
    send(saved(tmp_path / "image.tar", (LAYERS[1],)))
    assert unpacked(there[0]) == [LAYERS[1]]


def test_an_upload_that_always_breaks_is_an_error(
    there: tuple[Memory, str], send: Callable[..., Pushed], tmp_path: Path
) -> None:
    there[0].faults.breaks = 1000
    with pytest.raises(Unavailable, match="no connection"):
        send(saved(tmp_path / "image.tar", (LAYERS[1],)))
    assert there[0].manifests == {}


@pytest.mark.parametrize("bearer", [False, True])
def test_a_login_answers_the_challenge(
    bearer: bool, there: tuple[Memory, str], send: Callable[..., Pushed], tmp_path: Path
) -> None:
    there[0].faults.wants, there[0].faults.bearer = ("AWS", "a-token"), bearer
    file = saved(tmp_path / "image.tar", LAYERS)
    send(file, ("AWS", "a-token"))
    send(file, ("AWS", "a-token"), tag="2")  # all questions at once are challenged at once
    assert unpacked(there[0]) == list(LAYERS)


@pytest.mark.parametrize("bearer", [False, True])
@pytest.mark.parametrize("login", [None, ("AWS", "another")])
def test_a_wrong_login_is_said_and_not_shown(
    bearer: bool,
    login: tuple[str, str] | None,
    there: tuple[Memory, str],
    send: Callable[..., Pushed],
    tmp_path: Path,
) -> None:
    there[0].faults.wants, there[0].faults.bearer = ("AWS", "a-token"), bearer
    with pytest.raises(Unauthenticated) as raised:
        send(saved(tmp_path / "image.tar", LAYERS), login)
    assert "docker login" in str(raised.value.hint)
    assert "another" not in f"{raised.value}{raised.value.hint}"


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (403, b"", Denied, "HTTP 403"),
        (404, b'{"errors": [{"code": "NAME_UNKNOWN", "message": "no such repository"}]}', NotFound, "NAME_UNKNOWN"),
        (400, b"<html>", Invalid, "HTTP 400"),
        (429, b"", Throttled, "HTTP 429"),
        (507, b"", QuotaExceeded, "HTTP 507"),
        (502, b'{"errors": []}', Unavailable, "HTTP 502"),
    ],
)
def test_what_a_registry_says_becomes_an_error_of_its_kind(
    status: int,
    body: bytes,
    kind: type[CloudmlError],
    said: str,
    there: tuple[Memory, str],
    send: Callable[..., Pushed],
    tmp_path: Path,
) -> None:
    there[0].faults.status = (status, body)
    with pytest.raises(kind, match=said):
        send(saved(tmp_path / "image.tar", LAYERS))


def test_a_file_that_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "image.tar").write_bytes(b"no tar at all")
    with pytest.raises(ConfigError, match="no image as 'docker save' writes it"):
        OfFile.read(tmp_path / "image.tar")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("ghcr.io/me/fraud:1", Place("ghcr.io", "me/fraud", "1")),
        ("localhost/fraud", Place("localhost", "fraud", "latest")),
        ("127.0.0.1:5000/a/b/c:v1.2-x", Place("127.0.0.1:5000", "a/b/c", "v1.2-x")),
        ("1.dkr.ecr.us-east-1.amazonaws.com/x:y", Place("1.dkr.ecr.us-east-1.amazonaws.com", "x", "y")),
    ],
)
def test_a_place_in_a_registry(text: str, place: Place) -> None:
    assert Place.parse(text) == place


@pytest.mark.parametrize("text", ["fraud:1", "me/fraud:1", "ghcr.io/Fraud:1", "ghcr.io/", "https://ghcr.io/me/x:1"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no place in a registry"):
        Place.parse(text)
