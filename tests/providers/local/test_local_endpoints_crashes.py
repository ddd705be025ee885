"""Servers, gateways and supervisors that are killed under load, and deployments that are replaced under load."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from load import Load
from local_things import STACK, TIMEOUT, post, until, url_of

from cloudml.client import Client
from cloudml.errors import CloudmlError
from cloudml.specs import Deployment
from cloudml.states import Key, Phase, State

Write = Callable[..., str]
KEY = Key("endpoint", "sum-api", STACK)


def observed(client: Client) -> State:
    state = client.session.provider.endpoints.observe(KEY, None)
    assert state is not None
    return state


def kill(client: Client, *kinds: str) -> State:
    """As the kernel does when memory is short."""
    state = observed(client)
    for part in state.parts:
        if part.kind in kinds:
            os.kill(state.native["pids"][part.id], signal.SIGKILL)
    return state


def honest(client: Client) -> State:
    """What is observed; READY is said only of what answers, unless it died between the look and the question."""
    state = observed(client)
    if state.phase is Phase.READY and not answers(state):
        again = observed(client)
        assert (again.phase, again.native["pids"]) != (Phase.READY, state.native["pids"]), "READY, but no answer"
    return state


def noticed(client: Client, before: State) -> bool:
    """Whether a death shows: by its phase, or, if the machine held us up meanwhile, by what runs in its place."""
    state = observed(client)
    return state.phase is not Phase.READY or state.native["pids"] != before.native["pids"]


def answers(state: State) -> bool:
    try:
        return post(url_of(state))[0] == 200
    except ConnectionError:
        return False


def settle(client: Client) -> list[State]:
    """What was observed until it was ready again, the last one included."""
    seen = [honest(client)]

    def ready() -> bool:
        seen.append(honest(client))
        return seen[-1].phase is Phase.READY

    until(ready)
    return seen


def test_a_server_that_is_killed_under_load_comes_back(client: Client, model: Write) -> None:
    endpoint = client.deploy("sum-api", client.models.register("sums", model()), timeout=TIMEOUT)
    with Load(url_of(endpoint.state), 8, 0.002).running() as load:
        until(lambda: load.statuses[200] > 50)
        before = kill(client, "deployment")
        until(lambda: noticed(client, before))
        seen = settle(client)
        good = load.statuses[200]
        until(lambda: load.statuses[200] > good + 50)
    reasons = {state.failure.reason for state in seen if state.phase is Phase.DEGRADED and state.failure}
    assert reasons <= {"blue: killed by SIGKILL; it is started again"}
    assert {state.phase for state in seen} <= {Phase.DEGRADED, Phase.UPDATING, Phase.READY}
    assert (load.broken, load.hung, load.refused, load.unhelpful) == (0, 0, 0, 0)
    assert set(load.statuses) <= {200, 502, 503}
    assert load.statuses[502] <= 8  # at most what was under way
    assert load.sent == load.answered
    assert url_of(observed(client)) == url_of(before)


def test_while_one_of_two_is_down_the_other_serves(client: Client, model: Write) -> None:
    one, two = (client.models.register("sums", model(f"{number}", f"m{number}")) for number in (1, 2))
    spec = {name: Deployment(model=str(version)) for name, version in (("blue", one), ("green", two))}
    endpoint = client.deploy("sum-api", deployments=spec, traffic={"blue": 50, "green": 50}, timeout=TIMEOUT)
    with Load(url_of(endpoint.state), 4, 0.002).running() as load:
        until(lambda: load.statuses[200] > 50)
        state = observed(client)
        blue = next(part for part in state.of("deployment") if part.name == "blue")
        os.kill(state.native["pids"][blue.id], signal.SIGKILL)
        until(lambda: noticed(client, state))
        settle(client)
    assert set(load.statuses) <= {200, 502}
    assert load.statuses[502] <= 4
    assert (load.broken, load.hung, load.refused) == (0, 0, 0)
    assert {endpoint.predict([[0]])[0] for _ in range(4)} == {1, 2}


def test_a_gateway_that_is_killed_under_load_comes_back_on_its_port(client: Client, model: Write) -> None:
    endpoint = client.deploy("sum-api", client.models.register("sums", model()), timeout=TIMEOUT)
    with Load(url_of(endpoint.state), 8, 0.002).running() as load:
        until(lambda: load.statuses[200] > 50)
        before = kill(client, "gateway")
        until(lambda: noticed(client, before))
        settle(client)
        good = load.statuses[200]
        until(lambda: load.statuses[200] > good + 50)
    assert url_of(observed(client)) == url_of(before)
    assert set(load.statuses) == {200}
    assert load.broken <= 16  # what was under way, and what had just been accepted
    assert (load.hung, load.sent) == (0, load.answered + load.broken)
    pids = observed(client).native["pids"]
    assert {id for id in pids if pids[id] == before.native["pids"][id]} == {part.id for part in before.of("deployment")}


@pytest.mark.parametrize("kind", ["gateway", "deployment"])
def test_a_supervisor_that_is_killed_is_told_and_mended(client: Client, model: Write, home: Path, kind: str) -> None:
    version = client.models.register("sums", model())
    url = url_of(client.deploy("sum-api", version, timeout=TIMEOUT).state)
    (part,) = observed(client).of(kind)
    os.kill(int((home / "servers" / part.id / "alive").read_text().split()[0]), signal.SIGKILL)
    until(lambda: honest(client).phase is Phase.DEGRADED)
    failure = observed(client).failure
    assert failure is not None
    assert failure.reason.endswith("its supervisor was killed")
    with pytest.raises(CloudmlError):
        client.endpoints.get("sum-api").predict([[1, 2]])
    endpoint = client.deploy("sum-api", version, timeout=TIMEOUT)
    assert endpoint.predict([[1, 2]]) == [3]
    assert (url_of(endpoint.state), observed(client).phase) == (url, Phase.READY)


def test_a_model_that_ends_its_process_is_a_deployment_that_failed(client: Client, model: Write) -> None:
    """It is not waited for: whatever it is started again for, it never was ready."""
    version = client.models.register("sums", model(top="import os; os.kill(os.getpid(), 9)"))
    with pytest.raises(CloudmlError, match="killed by SIGKILL"):
        client.deploy("sum-api", version, timeout=TIMEOUT)


def test_no_request_is_lost_over_replacements_and_moves(client: Client, model: Write) -> None:
    one, two = (client.models.register("sums", model(f"{number}", f"m{number}")) for number in (1, 2))
    endpoint = client.deploy("sum-api", one, capture=1.0, timeout=TIMEOUT)
    with Load(url_of(endpoint.state), 8, 0.01).running() as load:
        until(lambda: load.statuses[200] > 50)
        for version in (two, one):
            client.deploy("sum-api", version, capture=1.0, timeout=TIMEOUT)
        spec = {name: Deployment(model=str(version)) for name, version in (("blue", one), ("green", two))}
        client.deploy("sum-api", deployments=spec, traffic={"blue": 100, "green": 0}, capture=1.0, timeout=TIMEOUT)
        for share in (50, 0):
            endpoint.shift({"blue": share, "green": 100 - share}, TIMEOUT)
    assert load.sent == load.statuses[200] == load.answered
    assert load.sent > 200
    assert (load.broken, load.hung, load.refused) == (0, 0, 0)
