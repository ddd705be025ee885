"""The artifact store: whole or not at all, and never outside of itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cloudml.calls import NativeCaller
from cloudml.errors import Invalid, NotFound
from cloudml.events import Events
from cloudml.waiting import Clock
from cloudml_local.artifacts import LocalArtifacts
from cloudml_local.errors import classify
from cloudml_local.home import Home


@pytest.fixture
def artifacts(home: Path) -> LocalArtifacts:
    return LocalArtifacts(Home(home), NativeCaller("local", classify, Clock(), Events([])))


def test_bytes_a_file_and_a_folder_come_back(artifacts: LocalArtifacts, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "sub" / "__pycache__").mkdir(parents=True)
    (folder / "sub" / "a.txt").write_text("a")
    (folder / "sub" / "__pycache__" / "x.pyc").write_text("cache")
    assert artifacts.missing(["s/doc.json", "s/content/ff", "s/content/ee/a.txt"]) == {
        "s/doc.json",
        "s/content/ff",
        "s/content/ee/a.txt",
    }
    assert artifacts.put("s/doc.json", b"{}") == artifacts.uri("s/doc.json")
    artifacts.put("s/content/ff", folder)
    artifacts.put("s/content/ee/a.txt", folder / "sub" / "a.txt")
    assert artifacts.missing(["s/doc.json", "s/content/ff", "s/content/ee/a.txt"]) == set()
    with artifacts.open(artifacts.uri("s/content/ff") + "/sub/a.txt") as file:
        assert file.read() == b"a"
    found = [uri.removeprefix(artifacts.uri("s") + "/") for uri in artifacts.list("s")]
    assert sorted(found) == ["content/ee/a.txt", "content/ff/sub/a.txt", "doc.json"]


def test_a_document_is_replaced_and_a_folder_too(artifacts: LocalArtifacts, tmp_path: Path) -> None:
    for text in ("one", "two"):
        folder = tmp_path / text
        folder.mkdir()
        (folder / text).write_text(text)
        artifacts.put("s/doc", text.encode())
        artifacts.put("s/folder", folder)
    with artifacts.open(artifacts.uri("s/doc")) as file:
        assert file.read() == b"two"
    assert os.listdir(artifacts.uri("s/folder")) == ["two"]


def test_deleting_is_repeatable_and_stays_inside(artifacts: LocalArtifacts, tmp_path: Path) -> None:
    uri = artifacts.put("s/doc", b"x")
    artifacts.delete(uri)
    artifacts.delete(uri)
    with pytest.raises(NotFound):
        artifacts.open(uri)
    outside = tmp_path / "outside"
    outside.write_text("mine")
    for wrong in (str(outside), uri + "/../../../../outside", artifacts.uri("s").removesuffix("/s")):
        with pytest.raises(Invalid):
            artifacts.delete(wrong)
    assert outside.read_text() == "mine"


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/./b", "a\0b"])
def test_a_key_that_leaves_the_store_is_refused(artifacts: LocalArtifacts, key: str) -> None:
    with pytest.raises(Invalid):
        artifacts.put(key, b"x")


def test_links_are_refused_and_leave_nothing(artifacts: LocalArtifacts, tmp_path: Path, home: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "secret").symlink_to("/etc/passwd")
    link = tmp_path / "link"
    link.symlink_to(folder)
    for source in (folder, link, folder / "secret"):
        with pytest.raises(Invalid, match="symbolic link"):
            artifacts.put("s/content/aa", source)
    assert artifacts.missing(["s/content/aa"])
    assert not home.exists() or not [path for path in home.rglob("*") if path.is_file()]


def test_what_a_dead_process_left_half_written_is_swept(home: Path) -> None:
    place = Home(home)
    pid = os.fork()
    if not pid:
        place.draft().mkdir()
        os._exit(0)
    os.waitpid(pid, 0)
    assert len(os.listdir(home / ".drafts")) == 1
    place.write(home / "store" / "x", b"x")
    assert os.listdir(home / ".drafts") == []
