"""The artifact store over a bucket: what is there, what is whole, what a folder's copy holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import pytest

from cloudml.errors import Invalid, NotFound
from cloudml.objects import Objects
from cloudml.outputs import Left, Outputs
from cloudml.states import Part, Phase


class Held:
    """A bucket in memory; ``full`` is how many objects it takes."""

    root = "held://shop/"

    def __init__(self, full: int = 99) -> None:
        self.objects: dict[str, bytes] = {}
        self.read_names: list[str] = []
        self.full = full

    def names(self, prefix: str) -> Sequence[str]:
        return sorted(name for name in self.objects if name.startswith(prefix))

    def read(self, name: str) -> bytes | None:
        self.read_names.append(name)
        return self.objects.get(name)

    def write(self, name: str, file: IO[bytes]) -> None:
        if len(self.objects) >= self.full:
            raise OSError("full")
        self.objects[name] = file.read()

    def copy(self, source: str, target: str) -> None:
        self.objects[target] = self.objects[source]

    def remove(self, name: str) -> None:
        self.objects.pop(name, None)


@pytest.fixture
def bucket() -> Held:
    return Held()


@pytest.fixture
def store(bucket: Held) -> Objects:
    return Objects(bucket)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    (made / "deep").mkdir(parents=True)
    (made / "one").write_text("1")
    (made / "deep" / "two").write_text("2")
    return made


@pytest.mark.parametrize("key", ["", "a//b", "../a", "a/."])
def test_what_is_no_key(store: Objects, key: str) -> None:
    with pytest.raises(Invalid, match="cannot be the key"):
        store.uri(key)


def test_a_folder_is_there_once_it_is_whole(store: Objects, folder: Path) -> None:
    assert store.put("s/content/ab", folder) == "held://shop/s/content/ab"
    assert [*store.list("s/content/ab")] == ["held://shop/s/content/ab/deep/two", "held://shop/s/content/ab/one"]
    assert store.missing(["s/content/ab", "s/content/a", "s", "s/content/ab/one", "s/content/ab/on"]) == {
        "s/content/a",
        "s/content/ab/on",
    }


def test_a_folder_that_was_cut_off_is_missing(folder: Path) -> None:
    bucket = Held(full=1)
    with pytest.raises(OSError, match="full"):
        Objects(bucket).put("s/content/ab", folder)
    assert bucket.objects
    assert Objects(bucket).missing(["s/content/ab", "s"]) == {"s/content/ab"}


def test_links_are_refused_before_anything_is_stored(store: Objects, bucket: Held, folder: Path) -> None:
    (folder / "link").symlink_to(folder / "one")
    with pytest.raises(Invalid, match="symbolic link"):
        store.put("s/content/ab", folder)
    assert not bucket.objects


def test_a_folder_goes_with_its_mark_and_leaves_its_neighbours(store: Objects, bucket: Held, folder: Path) -> None:
    for key in ("s/content/ab", "s/content/abc"):
        store.put(key, folder)
    store.delete(store.uri("s/content/ab"))
    assert store.missing(["s/content/ab", "s/content/abc"]) == {"s/content/ab"}
    assert all(name.startswith("s/content/abc") for name in bucket.objects)
    store.delete(store.uri("s/content/ab"))


def test_files_are_read_and_what_is_elsewhere_is_refused(store: Objects) -> None:
    with store.open(store.put("s/specs/a.json", b"{}")) as file:
        assert file.read() == b"{}"
    with pytest.raises(NotFound, match=r"no file held://shop/s/b"):
        store.open("held://shop/s/b")
    for ask in (store.open, store.delete, store.list):
        with pytest.raises(Invalid, match=r"held://other/a is not in held://shop"):
            ask("held://other/a")


def test_a_copy_is_whole_and_has_what_lies_beside(store: Objects, bucket: Held, folder: Path) -> None:
    store.put("s/content/ab", folder)
    store.put("s/side.json", b"{}")
    source = store.uri("s/content/ab")
    beside = {"side.json": store.uri("s/side.json"), "none.json": store.uri("s/none.json")}
    assert store.copy(source, store.uri("s/versions/fraud/1"), "model", beside)
    assert store.copy(source, store.uri("s/versions/fraud/2"))
    assert not store.copy(store.uri("s/nothing"), store.uri("s/versions/fraud/3"))
    assert store.folders("s/versions/fraud") == [
        ("1", "held://shop/s/versions/fraud/1"),
        ("2", "held://shop/s/versions/fraud/2"),
    ]
    names = [name.removeprefix("s/versions/fraud/") for name in bucket.names("s/versions/fraud/")]
    assert names == ["1.whole", "1/model/deep/two", "1/model/one", "1/side.json", "2.whole", "2/deep/two", "2/one"]


def test_what_an_ended_run_left_is_read_once(store: Objects, bucket: Held) -> None:
    outputs, run = Outputs(store), store.uri("s/runs/r1")
    assert outputs.parts(run) == ()
    assert outputs.ended(run, "before") == Left(None, {}, None)
    lines = [json.dumps({"name": "auc", "value": value}) for value in (0.5, 0.9)]
    store.put("s/runs/r1/metrics.jsonl", "\n".join([*lines, '{"name": "cut']).encode())
    store.put("s/runs/r1/model/cloudml-model.json", b"{}")
    store.put("s/runs/r1/failure.json", b'{"type": "ValueError", "message": "no rows"}')
    assert outputs.parts(run) == (Part("output", "output", run, Phase.READY),)
    assert outputs.ended(run, "before").facts == {"model": None, "metrics": {}}
    for _ in range(2):
        assert outputs.ended(run, "now") == Left(f"{run}/model", {"auc": 0.9}, "ValueError: no rows")
    assert sorted(bucket.read_names) == ["s/runs/r1/failure.json", "s/runs/r1/metrics.jsonl"]


def test_a_deletion_that_ends_in_its_middle_leaves_nothing_that_looks_whole(folder: Path) -> None:
    class Dying(Held):
        left = 1

        def remove(self, name: str) -> None:
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            super().remove(name)

    bucket = Dying()
    store = Objects(bucket)
    uri = store.put("stack/content/abc", folder)
    with pytest.raises(KeyboardInterrupt):
        store.delete(uri)
    assert store.missing(["stack/content/abc"]) == {"stack/content/abc"}
    bucket.left = 99
    store.delete(uri)
    assert bucket.objects == {}
