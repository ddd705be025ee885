"""The registry: versions are immutable and made once, aliases move, nothing is lost with the job."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from local_things import STACK, TIMEOUT, connected

from cloudml.client import Client
from cloudml.errors import AlreadyExists, Conflict, NotFound, RunFailed
from cloudml.specs import Model
from cloudml.states import Key
from cloudml_local.store import SCHEMA, Store

pytestmark = pytest.mark.minimal
Write = Callable[..., str]


@pytest.fixture
def store(home: Path) -> Store:
    return Store(home / "registry.db")


def request(hash: str) -> dict[str, object]:
    return {"hash": hash, "uri": f"/x/{hash}", "run": None, "approval": None, "description": ""}


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
    db.executescript(SCHEMA.replace(", digest TEXT", "") + "PRAGMA user_version = 1;")
    db.execute("INSERT INTO families VALUES ('sums', 'me', '{}', 1.0)")
    db.execute("INSERT INTO versions VALUES ('sums', 1, 'h1', 'u', NULL, '{}', NULL, '', 1.0)")
    db.commit()
    db.close()
    store = Store(path)
    assert store.digest("sums", "h1") is None
    assert store.create_version("sums", request("h2"), {}, "sha256:2") == 2
    assert (store.digest("sums", "h2"), store.digest("sums", "none")) == ("sha256:2", None)
    assert [version.hash for version in Store(path).family("sums").versions] == ["h1", "h2"]
