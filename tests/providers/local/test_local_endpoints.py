"""Endpoints end to end: real servers behind a real gateway."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from local_things import STACK, TIMEOUT, connected, post, until, url_of

from cloudml.client import Client
from cloudml.errors import Conflict, ModelError, NotFound, RunFailed, Unavailable
from cloudml.specs import Deployment, Endpoint
from cloudml.spi import Call, Payload, Window
from cloudml.states import Key, Phase, State

Write = Callable[..., str]
KEY = Key("endpoint", "sum-api", STACK)


def observed(client: Client) -> State:
    state = client.session.provider.endpoints.observe(KEY, None)
    assert state is not None
    return state


def calls(client: Client, spec: Endpoint) -> list[str]:
    return [call.operation for call in client.session.preview(client.session.endpoint("sum-api", spec))[-1].calls]


def kill(state: State, *kinds: str) -> None:
    """As a crash does, or a reboot."""
    for part in state.parts:
        if part.kind in kinds:
            os.kill(state.native["pids"][part.id], signal.SIGKILL)


def test_a_trained_model_is_deployed_and_answers(client: Client, pickled: str, tmp_path: Path) -> None:
    """A pickle that a job left; the job here has nothing to learn, for its imports would take seconds."""
    source = tmp_path / "source"
    shutil.copytree(pickled, source)
    (source / "train.py").write_text("""
import os, shutil
shutil.copy("model.joblib", os.environ["CLOUDML_MODEL_DIR"])
""")
    job = client.train("fit", source=str(source), command="python train.py").wait(TIMEOUT)
    endpoint = client.deploy("sum-api", job.register("sums", sample_input=[[0.5, 1.5]]), timeout=TIMEOUT)
    assert endpoint.predict([[1, 1]]) == [7]
    with pytest.raises(ModelError, match="2") as wrong:
        endpoint.predict([[1, 1, 1]])
    assert wrong.value.status == 400
    assert (endpoint.state.phase, endpoint.state.owner) == (Phase.READY, STACK)


def test_what_is_wanted_is_there_and_needs_no_call(client: Client, model: Write) -> None:
    version = client.models.register("sums", model())
    spec = Endpoint(model=str(version))
    assert calls(client, spec) == ["CreateEndpoint", "StartServer", "StartGateway", "SetTraffic"]
    client.deploy("sum-api", version, timeout=TIMEOUT)
    assert calls(client, spec) == []
    assert [state.key.name for state in client.session.provider.endpoints.list(STACK)] == ["sum-api"]


def test_a_model_that_does_not_load_leaves_the_old_one_serving(client: Client, model: Write) -> None:
    good = client.models.register("sums", model())
    bad = client.models.register("sums", model(name="bad", top="raise RuntimeError('broken on purpose')"))
    endpoint = client.deploy("sum-api", good, timeout=TIMEOUT)
    with pytest.raises(RunFailed, match="RuntimeError: broken on purpose"):
        client.deploy("sum-api", bad, timeout=TIMEOUT)
    assert endpoint.predict([[1, 2]]) == [3]
    state = observed(client)
    assert [(part.name, part.phase) for part in state.of("deployment")] == [
        ("blue", Phase.READY),
        ("blue", Phase.FAILED),
    ]
    failure = state.of("deployment")[1].failure
    assert failure is not None
    assert failure.reason == "RuntimeError: broken on purpose"
    assert state.phase is Phase.READY
    with pytest.raises(RunFailed, match="broken on purpose"):  # asked again, it is tried again by visible calls
        client.deploy("sum-api", bad, timeout=TIMEOUT)
    client.deploy("sum-api", good, timeout=TIMEOUT)  # and the way back clears it away
    assert [part.phase for part in observed(client).of("deployment")] == [Phase.READY]


def test_without_the_extra_it_says_what_to_install(client: Client, model: Write, tmp_path: Path) -> None:
    (tmp_path / "httptools.py").write_text("raise ModuleNotFoundError('none', name='httptools')")
    roots = os.pathsep.join([str(tmp_path), *(path for path in sys.path if path)])
    version = client.models.register("sums", model())
    with pytest.raises(RunFailed, match=r'serving needs httptools; pip install "cloudml-sdk\[serve\]"'):
        client.deploy("sum-api", version, env={"PYTHONPATH": roots}, timeout=TIMEOUT)


def test_no_request_is_lost_while_a_model_is_replaced(client: Client, model: Write) -> None:
    one, two = (client.models.register("sums", model(f"{number}", f"m{number}")) for number in (1, 2))
    endpoint = client.deploy("sum-api", one, timeout=TIMEOUT)
    url, over, seen = url_of(endpoint.state), threading.Event(), []

    def ask() -> None:
        while not over.is_set():
            seen.append(post(url))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        client.deploy("sum-api", two, timeout=TIMEOUT)
        until(lambda: seen[-1] == (200, b'{"predictions":[2]}'))
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert {status for status, _ in seen} == {200}
    assert {body for _, body in seen} == {b'{"predictions":[1]}', b'{"predictions":[2]}'}
    assert len(observed(client).of("deployment")) == 1
    assert url_of(endpoint.state) == url


def test_traffic_is_shared_by_weights_and_can_be_pinned(client: Client, model: Write) -> None:
    one, two = (client.models.register("sums", model(f"{number}", f"m{number}")) for number in (1, 2))
    spec = {name: Deployment(model=str(version)) for name, version in (("blue", one), ("green", two))}
    endpoint = client.deploy("sum-api", deployments=spec, traffic={"blue": 90, "green": 10}, timeout=TIMEOUT)
    answers = [endpoint.predict([[0]])[0] for _ in range(50)]
    assert (answers.count(1), answers.count(2)) == (45, 5)
    endpoints, ask = client.session.provider.endpoints, Payload(b'{"instances": [[0]]}')
    assert endpoints.invoke(observed(client), ask, "green").body == b'{"predictions":[2]}'
    with pytest.raises(NotFound, match=r"'red'; there are: blue, green"):
        endpoints.invoke(observed(client), ask, "red")
    servers = {part.id for part in observed(client).of("deployment")}
    moved = Endpoint(deployments=spec, traffic={"blue": 0, "green": 100})
    assert calls(client, moved) == ["SetTraffic"]
    endpoint.shift({"blue": 0, "green": 100}, TIMEOUT)
    assert {endpoint.predict([[0]])[0] for _ in range(10)} == {2}
    assert {part.id for part in observed(client).of("deployment")} == servers


def test_after_a_reboot_all_is_started_again_on_the_same_port(client: Client, model: Write, home: Path) -> None:
    version = client.models.register("sums", model())
    endpoint = client.deploy("sum-api", version, timeout=TIMEOUT)
    url = url_of(endpoint.state)
    for path in (home / "servers").glob("*/alive"):
        os.kill(int(path.read_text().split()[0]), signal.SIGKILL)
    until(lambda: all(part.phase is Phase.FAILED for part in observed(client).parts))
    assert observed(client).phase is Phase.DEGRADED
    failure = observed(client).failure
    assert failure is not None
    assert failure.reason == "gateway: its supervisor was killed"
    with pytest.raises(Unavailable):
        endpoint.predict([[1, 2]])
    spec = Endpoint(model=str(version))
    assert calls(client, spec) == ["RemoveProcess", "StartServer", "RemoveProcess", "StartGateway"]
    client.deploy("sum-api", version, timeout=TIMEOUT)
    assert endpoint.predict([[1, 2]]) == [3]
    assert url_of(endpoint.state) == url


def test_a_server_that_died_is_named_and_answered_for(client: Client, model: Write, tmp_path: Path) -> None:
    hold = tmp_path / "hold"
    slow = model(top=f"import os, time\nwhile os.path.exists({str(hold)!r}): time.sleep(0.01)")
    endpoint = client.deploy("sum-api", client.models.register("sums", slow), timeout=TIMEOUT)
    hold.touch()
    kill(observed(client), "deployment")
    until(lambda: observed(client).phase is Phase.DEGRADED)
    with pytest.raises(Unavailable, match="no deployment with traffic is ready"):
        endpoint.predict([[1, 2]])
    hold.unlink()
    until(lambda: observed(client).phase is Phase.READY)
    assert endpoint.predict([[1, 2]]) == [3]


def test_a_port_can_be_fixed_and_a_taken_one_is_told(client: Client, model: Write) -> None:
    version = client.models.register("sums", model())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        options = {"local": {"port": port}}
        with pytest.raises(Conflict, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            client.deploy("sum-api", version, options=options, timeout=TIMEOUT)
    endpoint = client.deploy("sum-api", version, options=options, timeout=TIMEOUT)
    assert urlsplit(url_of(endpoint.state)).port == port
    assert endpoint.predict([[1, 2]]) == [3]


def test_captured_requests_logs_and_metrics_are_read_back(client: Client, model: Write) -> None:
    endpoint = client.deploy("sum-api", client.models.register("sums", model()), capture=1.0, timeout=TIMEOUT)
    for number in range(3):
        endpoint.predict([[number, 1]])
    telemetry = client.session.provider.telemetry
    until(lambda: len([*telemetry.captured(observed(client), Window())]) == 3)
    found = [*telemetry.captured(observed(client), Window())]
    assert [(each.inputs, each.outputs, each.deployment) for each in found] == [
        ([[number, 1]], [number + 1], "blue") for number in range(3)
    ]
    assert [*telemetry.captured(observed(client), Window(end=1.0))] == []
    samples = {sample.name: sample.value for sample in telemetry.metrics(observed(client), Window())}
    assert (samples["requests"], samples["errors"]) == (3, 0)
    assert 0 < samples["latency"] < 1000
    assert any("listening on" in line.text for line in telemetry.logs(observed(client), None)[0])


def test_what_cannot_be_captured_is_counted_and_loses_no_request(client: Client, model: Write, home: Path) -> None:
    endpoint = client.deploy("sum-api", client.models.register("sums", model()), capture=1.0, timeout=TIMEOUT)
    place = home / "store" / STACK / "captures" / "sum-api"
    assert not place.exists(), "the first record makes it"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.touch()  # a file where the folder belongs: nothing can be written, also for root

    def counts() -> dict[str, float]:
        return {each.name: each.value for each in client.session.provider.telemetry.metrics(observed(client), Window())}

    for number in range(20):
        assert endpoint.predict([[number, 1]]) == [number + 1]
    until(lambda: counts().get("dropped") == 20)
    place.unlink()
    for number in range(5):
        assert endpoint.predict([[number, 1]]) == [number + 1]
    until(lambda: counts().get("captured") == 5)
    assert {name: counts()[name] for name in ("requests", "errors", "dropped", "captured", "removed")} == {
        "requests": 25, "errors": 0, "dropped": 20, "captured": 5, "removed": 0,
    }  # fmt: skip
    assert len([*client.session.provider.telemetry.captured(observed(client), Window())]) == 5


def test_a_changed_environment_replaces_the_server(client: Client, model: Write) -> None:
    version = client.models.register("sums", model("__import__('os').environ.get('MODE')"))
    endpoint = client.deploy("sum-api", version, timeout=TIMEOUT)
    assert endpoint.predict([[0]]) == [None]
    client.deploy("sum-api", version, env={"MODE": "fast"}, timeout=TIMEOUT)
    assert endpoint.predict([[0]]) == ["fast"]
    assert len(observed(client).of("deployment")) == 1


def test_another_stacks_endpoint_is_not_touched(client: Client, model: Write, home: Path) -> None:
    client.deploy("sum-api", client.models.register("sums", model()), timeout=TIMEOUT)
    other = connected(home, "other-local")
    version = other.models.register("others", model("max(row)", "other"))
    with pytest.raises(Conflict, match=STACK):
        other.deploy("sum-api", version, timeout=TIMEOUT)
    spec = Endpoint(model=str(version))
    state = other.session.pursue(other.session.endpoint("sum-api", spec), TIMEOUT, adopt=True)
    assert state is not None
    assert state.owner == "other-local"


def test_deleting_leaves_no_process_no_port_and_no_folder(client: Client, model: Write, home: Path) -> None:
    endpoint = client.deploy("sum-api", client.models.register("sums", model()), timeout=TIMEOUT)
    pids, url = observed(client).native["pids"], urlsplit(url_of(endpoint.state))
    endpoint.delete()
    assert client.session.provider.endpoints.observe(KEY, None) is None
    for pid in pids.values():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((str(url.hostname), url.port or 0)).close()
    assert [*(home / "endpoints").iterdir(), *(home / "servers").glob("[!.]*")] == []


def test_processes_without_their_record_are_still_found(client: Client, model: Write, home: Path) -> None:
    client.deploy("sum-api", client.models.register("sums", model()), timeout=TIMEOUT)
    client.session.provider.endpoints.send(Call("DeleteEndpoint", "sum-api", {}, "a test"))
    state = observed(client)
    assert (state.owner, len(state.parts)) == (STACK, 2)
    client.session.pursue(client.session.absent(client.session.provider.endpoints, KEY), TIMEOUT)
    assert not list((home / "servers").glob("[!.]*"))


def test_what_never_served_is_nothing_to_go_back_to(client: Client, model: Callable[..., str]) -> None:
    client.models.register("bad", model("1 / 0", "bad", "raise OSError('no weights')"))
    client.models.register("good", model("sum(row)", "good"))
    with pytest.raises(RunFailed, match="no weights"):
        client.deploy("sum-api", "bad", deadline=TIMEOUT)
    endpoint = client.deploy("sum-api", "good", deadline=TIMEOUT)
    with pytest.raises(RunFailed, match="no weights"):
        client.deploy("sum-api", "bad", deadline=TIMEOUT)
    assert endpoint.predict([[1, 2]]) == [3]
    with pytest.raises(NotFound, match="nothing to go back to"):
        endpoint.rollback()
    assert endpoint.predict([[1, 2]]) == [3]


def test_a_taken_port_leaves_the_old_address_serving(client: Client, model: Callable[..., str]) -> None:
    client.models.register("sums", model())
    endpoint = client.deploy("sum-api", "sums", deadline=TIMEOUT)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Conflict, match=str(port)):
            client.deploy("sum-api", "sums", options={"local": {"port": port}}, deadline=TIMEOUT)
        assert endpoint.predict([[1, 2]]) == [3]
    client.deploy("sum-api", "sums", options={"local": {"port": port}}, deadline=TIMEOUT)
    assert endpoint.url == f"http://127.0.0.1:{port}"
    assert endpoint.predict([[1, 2]]) == [3]
