"""Killed at any line of what a call does, the next process goes on, and nothing is there twice or left over."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from dying import deaths
from local_things import TIMEOUT, connected, destroy, python_model, until

from cloudml.client import Client
from cloudml.engines.process import ProcessEngine
from cloudml.errors import AlreadyExists, NotFound
from cloudml.goals import Pursuit
from cloudml.specs import Model, TrainingJob
from cloudml.states import Phase
from cloudml_local.home import Home
from cloudml_local.servers import Servers

Make = Callable[[Client], Pursuit[Any]]


def walk(tmp_path: Path, make: Make, good: Callable[[Any], bool]) -> int:
    """Every call of the way to a goal dies at every line of it; then the goal is pursued as if nothing had been."""
    walked = 0
    call_number = 0
    while True:
        for number, die in enumerate(deaths()):
            client = connected(tmp_path / f"home-{call_number}-{number}")
            pursuit = make(client)
            for each in pursuit.before:
                client.session.pursue(client.session.content(each), TIMEOUT)
            kind, goal = pursuit.kind, pursuit.goal
            for _ in range(call_number):
                kind.send(kind.render(goal, kind.observe(goal.key, goal.want))[0])
            calls = kind.render(goal, kind.observe(goal.key, goal.want))
            if not calls:
                destroy(client)
                return walked
            walked += die(lambda kind=kind, call=calls[0]: kind.send(call))  # type: ignore[misc]
            state = client.session.pursue(pursuit, TIMEOUT)
            assert good(state), f"{calls[0].operation} died at its line {number + 1}: {state}"
            assert not kind.render(goal, kind.observe(goal.key, goal.want))
            destroy(client)
        call_number += 1


def test_registering_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No power is cut here, so the disk need not be waited for: that is most of the time."""
    monkeypatch.setattr("cloudml_local.store.SYNCHRONOUS", "OFF")
    folder = python_model(tmp_path / "model", "sum(row)")

    def make(client: Client) -> Pursuit[Model]:
        spec = Model(path=str(folder), alias="best", approval="approved")
        return client.session.model("sums", spec)

    walked = walk(tmp_path, make, lambda state: [part.facts["aliases"] for part in state.of("version")] == [("best",)])
    assert walked > 40


def test_starting_a_job(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "x.txt").write_text("x")

    def make(client: Client) -> Pursuit[TrainingJob]:
        return client.session.job("fit", TrainingJob(command="cat x.txt", source=str(source)))

    assert walk(tmp_path, make, lambda state: state.phase is Phase.SUCCEEDED) >= 8


SLEEP = {"argv": ["sleep", "60"], "labels": {"cloudml-stack": "s", "deployment": "blue", "spec": "1", "model": "m"}}
START: Mapping[str, Any] = {**SLEEP, "env": {"CLOUDML_MODEL_NAME": "m"}, "model": "1", "sidecar": ""}
LISTENS = {"host": "127.0.0.1", "port": "0", "token": ""}
GATE: Mapping[str, Any] = {
    "argv": ["sh", "-c", "exit 2"],  # final, so it is not started again
    "host": "127.0.0.1",
    "port": None,
    "token": None,
    "labels": {"cloudml-stack": "s", **LISTENS},
}
STEPS: tuple[tuple[str, Callable[[Servers], object]], ...] = (
    ("create", lambda servers: servers.create("api", {"owner": "s", "labels": {}})),
    ("start server", lambda servers: servers.start_server("api", "api.blue.1", START)),
    ("start gateway", lambda servers: servers.start_gateway("api", GATE)),
    ("set table", lambda servers: servers.set_table("api", {"revision": "1", "targets": {}})),
    ("stop", lambda servers: servers.stop("api.blue.1")),
    ("remove", lambda servers: servers.remove("api.blue.1")),
    ("remove gateway", lambda servers: servers.remove("api.gateway")),
    ("delete", lambda servers: servers.delete("api")),
)


@pytest.mark.parametrize("dying", range(len(STEPS)), ids=[name for name, _ in STEPS])
def test_each_write_of_an_endpoint(tmp_path: Path, dying: int) -> None:
    for number, die in enumerate(deaths()):
        home = Home(tmp_path / str(number))
        servers = Servers(home, ProcessEngine(home.path / "servers"), lambda family, hash: None)
        for at, (name, step) in enumerate(STEPS):
            if at == dying:
                die(lambda step=step, servers=servers: step(servers))  # type: ignore[misc]
                with contextlib.suppress(AlreadyExists, NotFound):  # answers: it had been done
                    step(servers)
            else:
                step(servers)
            if name.startswith("start"):
                assert len(servers.get("api").servers) == 1
            if name in ("stop", "start gateway"):  # the gateway of this test ends by itself
                ended = "api.blue.1" if name == "stop" else "api.gateway"
                until(lambda ended=ended, servers=servers: servers.ended(ended))  # type: ignore[misc]
        with pytest.raises(NotFound):
            servers.get("api")
        assert not list(home.endpoints.iterdir())
        assert not list((home.path / "servers").glob("[!.]*"))
        home.draft()
        assert not list((home.path / ".drafts").iterdir())
