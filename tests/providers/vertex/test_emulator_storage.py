"""Cloud Storage as Google's own client sees it: preconditions, pages, uploads in pieces, copies, names."""

from __future__ import annotations

import os
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import storage

LARGE = 9 << 20  # more than one piece of a resumable upload
NAMES = ("plain.txt", "a b/c d.txt", "ü/日本.txt", "50%/#1?x=y&z.txt", "+plus/~tilde.txt")


@pytest.fixture
def there(bucket: str) -> Any:
    return storage.Client(project=bucket).bucket(bucket)


def test_preconditions(there: Any) -> None:
    blob = there.blob("one")
    with pytest.raises(exceptions.PreconditionFailed):
        blob.upload_from_string("1", if_generation_match=7)
    blob.upload_from_string("1", if_generation_match=0)
    with pytest.raises(exceptions.PreconditionFailed):
        blob.upload_from_string("2", if_generation_match=0)
    first = blob.generation
    blob.upload_from_string("2", if_generation_match=first)
    assert blob.generation > first
    with pytest.raises(exceptions.PreconditionFailed):
        blob.delete(if_generation_match=first)
    with pytest.raises(exceptions.NotFound):
        there.blob("one", generation=first).reload()
    with pytest.raises(exceptions.PreconditionFailed):
        there.copy_blob(blob, there, "one", if_generation_match=0)
    assert blob.download_as_bytes() == b"2"
    blob.delete(if_generation_match=blob.generation)
    assert not blob.exists()


def test_metadata_has_generations_of_its_own(there: Any) -> None:
    blob = there.blob("one")
    blob.metadata = {"a": "1", "b": "2"}
    blob.upload_from_string("x", content_type="text/plain")
    assert (there.get_blob("one").metadata, blob.metageneration) == ({"a": "1", "b": "2"}, 1)
    blob.metadata = {"a": None, "b": "3"}
    blob.patch(if_metageneration_match=1)
    found = there.get_blob("one")
    assert (found.metadata, found.metageneration, found.content_type) == ({"b": "3"}, 2, "text/plain")
    with pytest.raises(exceptions.PreconditionFailed):
        blob.patch(if_metageneration_match=1)


def test_lists_have_pages_prefixes_and_offsets(there: Any) -> None:
    for name in ("a/1", "a/2", "b/1", "c", "d"):
        there.blob(name).upload_from_string(name)
    pages = there.list_blobs(page_size=2).pages
    assert [[blob.name for blob in page] for page in pages] == [["a/1", "a/2"], ["b/1", "c"], ["d"]]
    inside = there.list_blobs(delimiter="/")
    assert [blob.name for blob in inside] == ["c", "d"]
    assert inside.prefixes == {"a/", "b/"}
    assert [blob.name for blob in there.list_blobs(prefix="a/")] == ["a/1", "a/2"]
    assert [blob.name for blob in there.list_blobs(start_offset="a/2", end_offset="c")] == ["a/2", "b/1"]
    with pytest.raises(exceptions.MethodNotImplemented):
        list(there.list_blobs(match_glob="*"))


def test_a_large_object_comes_in_pieces_and_goes_in_ranges(there: Any) -> None:
    content = os.urandom(LARGE)
    blob = there.blob("large", chunk_size=4 << 20)
    blob.metadata = {"kept": "yes"}
    blob.upload_from_string(content, content_type="application/x-large", if_generation_match=0)
    found = there.get_blob("large")
    assert (found.size, found.content_type, found.metadata) == (LARGE, "application/x-large", {"kept": "yes"})
    assert found.download_as_bytes() == content
    assert found.download_as_bytes(start=5, end=9) == content[5:10]
    assert found.download_as_bytes(start=LARGE - 3) == content[-3:]
    assert found.download_as_bytes(start=-4) == content[-4:]
    with pytest.raises(exceptions.RequestRangeNotSatisfiable):
        found.download_as_bytes(start=LARGE)
    with pytest.raises(exceptions.PreconditionFailed):
        there.blob("large", chunk_size=4 << 20).upload_from_string(content, if_generation_match=0)


def test_copies(there: Any) -> None:
    one, two = there.blob("one"), there.blob("two")
    one.metadata = {"a": "1"}
    one.upload_from_string("1", content_type="text/plain")
    two.upload_from_string("2")
    assert there.copy_blob(one, there, "copied").metadata == {"a": "1"}
    rewritten = there.blob("rewritten")
    assert rewritten.rewrite(one)[0] is None
    assert (rewritten.download_as_bytes(), there.get_blob("rewritten").content_type) == (b"1", "text/plain")
    both = there.blob("both")
    both.content_type = "text/csv"
    both.compose([one, two])
    assert (both.download_as_bytes(), there.get_blob("both").content_type) == (b"12", "text/csv")
    with pytest.raises(exceptions.NotFound):
        there.blob("none").compose([one, there.blob("nobody")])
    with pytest.raises(exceptions.NotFound):
        there.copy_blob(there.blob("nobody"), there, "x")


@pytest.mark.parametrize("name", NAMES)
def test_names_are_kept_as_they_are(there: Any, name: str) -> None:
    there.blob(name).upload_from_string(name)
    assert [blob.name for blob in there.list_blobs()] == [name]
    assert there.blob(name).download_as_text() == name
    there.blob(name).delete()
    assert list(there.list_blobs()) == []


def test_what_a_folder_cannot_hold_is_refused(there: Any) -> None:
    there.blob("a/b").upload_from_string("1")
    for name in ("a", "a/b/c", "x" * 300, "../up"):
        with pytest.raises(exceptions.BadRequest):
            there.blob(name).upload_from_string("1")
    assert [blob.name for blob in there.list_blobs()] == ["a/b"]


def test_buckets(bucket: str, there: Any) -> None:
    client = storage.Client(project=bucket)
    with pytest.raises(exceptions.Conflict):
        client.create_bucket(bucket)
    with pytest.raises(exceptions.BadRequest):
        client.create_bucket("Not-A-Bucket")
    there.blob("x").upload_from_string("1")
    with pytest.raises(exceptions.Conflict):
        there.delete()
    there.blob("x").delete()
    there.delete()
    with pytest.raises(exceptions.NotFound):
        client.get_bucket(bucket)
    with pytest.raises(exceptions.NotFound):
        there.blob("x").upload_from_string("1")
