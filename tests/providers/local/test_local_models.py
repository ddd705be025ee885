"""The registry: versions are immutable and made once, aliases move, nothing is lost with the job."""

from __future__ import annotations

import functools
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from local_things import STACK, TIMEOUT, connected

from cloudml.client import Client
from cloudml.errors import AlreadyExists, Conflict, Denied, NotFound, ProviderError, QuotaExceeded, RunFailed, Throttled
from cloudml.specs import Model
from cloudml.states import Key
from cloudml_local.errors import SQLITE, classify
from cloudml_local.store import SCHEMA, Store

pytestmark = pytest.mark.minimal
Write = Callable[..., str]


@pytest.fixture
def store(home: Path) -> Store:
    return Store(home / "registry.db")


def request(hash: str) -> dict[str, object]:
    return {"hash": hash, "uri": f"/x/{hash}", "run": None, "approval": None, "description": ""}


def test_the_image_of_a_version_is_known_as_long_as_the_version_is(client: Client, model: Write) -> None:
    first, second = client.models.register("sums", model()), client.models.register("sums", model("max(row)", "other"))
    assert first.image is None
    first.record_image("ghcr.io/me/sums@sha256:1")
    first.record_image("ghcr.io/me/sums@sha256:2")
    assert (client.models.get("sums:1").image, second.image) == ("ghcr.io/me/sums@sha256:2", None)
    place = first.session.provider.artifacts.uri(f"{STACK}/models/sums/{first.hash}.image.json")
    assert Path(place.removeprefix("file://")).is_file()
    first.delete()
    assert not Path(place.removeprefix("file://")).exists()


def test_a_folder_becomes_a_version_once(client: Client, model: Write) -> None:
    folder = model()
    first, again = client.models.register("sums", folder), client.models.register("sums", folder)
    assert (first.version, again.version) == ("1", "1")
    assert client.models.register("sums", model("max(row)", "other")).version == "2"
    state = client.session.provider.models.observe(Key("model", "sums", STACK), None)
    assert state is not None
    assert [part.name for part in state.of("version")] == ["1", "2"]


def test_an_alias_moves_in_one_write(client: Client, model: Write) -> None:
    session, folders = client.session, (model(), model("max(row)", "other"))
    for folder in folders:
        session.pursue(session.model("sums", Model(path=folder, alias="champion")), TIMEOUT)
    state = session.provider.models.observe(Key("model", "sums", STACK), None)
    assert state is not None
    assert [part.facts["aliases"] for part in state.of("version")] == [(), ("champion",)]
    back = session.preview(session.model("sums", Model(path=folders[0], alias="champion")))[-1].calls
    assert [call.operation for call in back] == ["SetAlias"]


def test_approval_and_labels_change_in_place(client: Client, model: Write) -> None:
    session, folder = client.session, model()
    session.pursue(session.model("sums", Model(path=folder, approval="pending")), TIMEOUT)
    changed = session.model("sums", Model(path=folder, approval="approved", labels={"team": "risk"}))
    assert [call.operation for call in session.preview(changed)[-1].calls] == ["SetLabels", "SetApproval"]
    state = session.pursue(changed, TIMEOUT)
    assert state is not None
    assert (state.labels["team"], state.parts[0].facts["approval"], len(state.parts)) == ("risk", "approved", 1)


def test_a_version_outlives_its_job(client: Client, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    script = "import os; open(os.environ['CLOUDML_MODEL_DIR'] + '/model.py', 'w').write('x = 1'); "
    (source / "train.py").write_text(script + "print('#cloudml.metric name=auc value=0.9')")
    job = client.train("fit", source=str(source), command="python train.py").wait(TIMEOUT)
    job.register("sums")
    session = client.session
    session.pursue(session.absent(session.provider.jobs, job.state.key), TIMEOUT)
    state = session.provider.models.observe(Key("model", "sums", STACK), None)
    assert state is not None
    part = state.of("version")[0]
    assert Path(part.facts["uri"], "model.py").read_text() == "x = 1"
    assert (part.facts["metrics"], part.facts["run"]) == ({"auc": 0.9}, job.id)


def test_a_job_without_a_model_cannot_be_registered(client: Client) -> None:
    job = client.train("fit", command="true").wait(TIMEOUT)
    with pytest.raises(RunFailed, match="left no model"):
        client.session.pursue(client.session.model("sums", Model.model_validate({"from": f"run:{job.id}"})), TIMEOUT)


def test_another_stacks_family_is_not_touched(client: Client, model: Write, home: Path) -> None:
    client.models.register("sums", model())
    with pytest.raises(Conflict, match=STACK):
        connected(home, "other-local").models.register("sums", model("max(row)", "other"))
    other = connected(home, "other-local").session
    pursuit = other.model("sums", Model(path=model("min(row)", "third")))
    state = other.pursue(pursuit, TIMEOUT, adopt=True)
    assert state is not None
    assert (state.owner, len(state.of("version"))) == ("other-local", 2)


def test_a_deleted_family_leaves_nothing(client: Client, model: Write, home: Path) -> None:
    client.models.register("sums", model())
    session, key = client.session, Key("model", "sums", STACK)
    session.pursue(session.absent(session.provider.models, key), TIMEOUT)
    assert session.provider.models.observe(key, None) is None
    assert not list((home / "store" / STACK).glob("versions/*/*"))
    assert client.models.register("sums", model("max(row)", "other")).version == "1"


def test_processes_at_once_make_each_version_once(store: Store) -> None:
    store.create_family("sums", "me", {})
    made: list[int] = []

    def work() -> None:
        for number in range(8):
            try:
                made.append(store.create_version("sums", request(f"h{number}"), {}))
            except AlreadyExists:
                continue

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == list(range(1, 9))
    assert len({version.hash for version in store.family("sums").versions}) == 8


def test_the_store_refuses_what_is_not_there_or_there_already(store: Store) -> None:
    for missing in (
        lambda: store.family("sums"),
        lambda: store.create_version("sums", request("h"), {}),
        lambda: store.set_alias("sums", "best", "h"),
        lambda: store.set_approval("sums", "h", "approved"),
        lambda: store.set_labels("sums", "me", {}),
        lambda: store.delete_family("sums"),
    ):
        with pytest.raises(NotFound):
            missing()
    store.create_family("sums", "me", {})
    with pytest.raises(AlreadyExists):
        store.create_family("sums", "you", {})
    assert store.family("sums").owner == "me"


def test_a_registry_of_the_first_schema_is_read_and_written(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    db = sqlite3.connect(path)
    since = (", digest TEXT", ", archived INTEGER NOT NULL DEFAULT 0", ",\n    last INTEGER NOT NULL DEFAULT 0")
    assert all(SCHEMA.count(each) == 1 for each in since)
    first = functools.reduce(lambda schema, each: schema.replace(each, ""), since, SCHEMA)
    db.executescript(first + "PRAGMA user_version = 1;")
    db.execute("INSERT INTO families VALUES ('sums', 'me', '{}', 1.0)")
    db.execute("INSERT INTO versions VALUES ('sums', 1, 'h1', 'u', NULL, '{}', NULL, '', 1.0)")
    db.commit()
    db.close()
    store = Store(path)
    assert store.digest("sums", "h1") is None
    assert store.create_version("sums", request("h2"), {}, "sha256:2") == 2
    assert (store.digest("sums", "h2"), store.digest("sums", "none")) == ("sha256:2", None)
    assert [version.hash for version in Store(path).family("sums").versions] == ["h1", "h2"]


def test_a_registry_that_cannot_be_opened_is_named(home: Path) -> None:
    (home / "registry.db").mkdir(parents=True)
    with pytest.raises(Denied, match="unable to open") as caught:
        connected(home).models.list()
    assert str(home / "registry.db") in (caught.value.hint or "")


@pytest.mark.parametrize("kept", [0, 4096], ids=["no database", "a torn one"])
def test_a_registry_that_is_damaged_is_one_line_with_the_ways_out(home: Path, kept: int) -> None:
    file = home / "registry.db"
    Store(file).create_family("sums", "me", {})
    whole = file.read_bytes()
    file.write_bytes(whole[:kept] + b"?" * (len(whole) - kept))
    with pytest.raises(ProviderError, match=r"^local ListFamilies: ") as caught:
        connected(home).models.list()
    assert "\n" not in str(caught.value)
    assert f"put {file} back from a copy, or move it away" in (caught.value.hint or "")


def test_a_registry_that_is_full_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.create_family("sums", "me", {})
    prepare = Store._prepare

    def limited(db: sqlite3.Connection) -> None:
        prepare(db)
        db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")

    monkeypatch.setattr(Store, "_prepare", staticmethod(limited))
    with pytest.raises(sqlite3.OperationalError, match="full") as caught:
        store.create_family("large", "me", {"text": "x" * 100_000})
    assert isinstance(classify(caught.value), QuotaExceeded)
    assert [family.name for family in store.families()] == ["sums"]


@pytest.mark.parametrize(
    ("statement", "kind"),
    [("BEGIN IMMEDIATE", Throttled), ("CREATE TABLE a (b)", Denied), ("SELECT * FROM nothing", None), ("SELEC", None)],
)
def test_what_sqlite_refuses_is_told_apart(tmp_path: Path, statement: str, kind: type[Exception] | None) -> None:
    path = tmp_path / "some.db"
    writer = sqlite3.connect(path, isolation_level=None)
    mode = "ro" if kind is Denied else "rw"
    other = sqlite3.connect(f"file:{path}?mode={mode}", uri=True, timeout=0)
    try:
        if kind is Throttled:
            writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError) as caught:
            other.execute(statement)
    finally:
        other.close()
        writer.close()
    found = classify(caught.value)
    assert (type(found) if found else None) is kind


def test_the_table_of_sqlites_codes_has_its_numbers() -> None:
    names = ("PERM", "BUSY", "LOCKED", "READONLY", "IOERR", "CORRUPT", "FULL", "CANTOPEN", "NOTADB")
    assert list(SQLITE) == [getattr(sqlite3, f"SQLITE_{name}") for name in names]


def test_a_changed_description_is_a_new_version(client: Client, model: Write) -> None:
    folder = model()
    first = client.models.register("sums", folder, description="of spring")
    again = client.models.register("sums", folder, description="of autumn")
    assert (first.version, again.version) == ("1", "2")
    assert client.models.alias("sums", "champion", "2").version == "2"
    state = client.session.provider.models.observe(Key("model", "sums", STACK), None)
    assert state is not None
    assert [part.facts["description"] for part in state.of("version")] == ["of spring", "of autumn"]
