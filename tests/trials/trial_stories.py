"""Ten stories of what a person does and sees, the same for every emulated cloud in whatever condition.

``class TestSomething(Stories)`` with ``column = …`` tells them of a cloud in a condition (trial_columns.py).
``trial.does("deploy", …)`` names an act, which a condition may disturb or watch (trial_words.py).
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from trial import FASTER, PATIENCE, Trial, until

from cloudml import config, plan
from cloudml.client import Client
from cloudml.errors import RolledBack, RunFailed
from cloudml.handles import EndpointHandle, Job, ModelVersion
from cloudml.states import Phase
from cloudml.testing.conformance.programs import python_model

DEADLINE = FASTER * 120.0
ENDPOINT = "fraud-api"
TRAIN = """
import pathlib, sys
folder, secret = sys.argv[1:]
print("reading 40 rows")
print("#cloudml.metric name=auc value=0.9375")
pathlib.Path(folder, "model.py").write_text('''
class Model:
    def predict(self, rows):
        return ["SECRET %d" % sum(row) for row in rows]

def load(folder):
    return Model()
'''.replace("SECRET", secret))
"""
LAST_LINE = "the data has no column mean_radius"
FAIL = f"print('reading'); raise KeyError('{LAST_LINE}')"
WAIT = "import time; print('begun', flush=True); time.sleep(600)"
BREAKS = "print('loading weights'); raise RuntimeError('it does not load')"
PROJECT = """
version: 1
project: shop
jobs:
  train:
    source: src/
    command: python train.py {{model_dir}} {secret}
models:
  fraud:
    from: jobs.train
    alias: champion
endpoints:
  fraud-api:
    model: fraud@champion
"""


def trained(client: Client, program: str = TRAIN, *words: str) -> Job:
    return client.train("train", command=("python", "-c", program, "{model_dir}", *words))


def registered(trial: Trial, client: Client, answer: str, act: str = "register", top: str = "") -> ModelVersion:
    """A version of ``fraud`` that gives one answer to everything."""
    folder = python_model(trial.folder / uuid.uuid4().hex, repr(answer), top)
    return trial.does(act, lambda: client.models.register("fraud", str(folder)))


def deployed(trial: Trial, client: Client, *versions: ModelVersion, act: str = "deploy", **more: Any) -> EndpointHandle:
    return trial.does(act, lambda: client.deploy(ENDPOINT, *versions, deadline=DEADLINE, **more))


@contextmanager
def asked(trial: Trial) -> Iterator[list[Any]]:
    """Meanwhile the endpoint is asked without a pause, by another process as it were; what was answered."""
    answers: list[Any] = []
    over, client = threading.Event(), trial.connect()

    def ask() -> None:
        while not over.is_set():
            try:
                answers.extend(client.endpoints.get(ENDPOINT).predict([[1, 2]]))
            except Exception as error:  # noqa: BLE001 - whatever it is, it was seen by whoever asked
                answers.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        over.set()
        thread.join(PATIENCE)


class Stories:
    def test_a_job_trains_and_its_metrics_and_its_model_come_back(self, trial: Trial) -> None:
        client, secret = trial.connect(), uuid.uuid4().hex
        job = trial.does("train", lambda: trained(client, TRAIN, secret).wait(DEADLINE))
        assert job.metrics == {"auc": 0.9375}
        assert "reading 40 rows" in [*job.logs()]
        version = trial.does("register", lambda: job.register("fraud"))
        assert version.metrics == {"auc": 0.9375}
        assert version.lineage["job"] == job.id
        endpoint = deployed(trial, client, version)
        assert endpoint.predict([[1, 2], [3, 4]]) == [f"{secret} 3", f"{secret} 7"]

    def test_a_job_that_fails_says_its_own_last_line(self, trial: Trial) -> None:
        client = trial.connect()
        with pytest.raises(RunFailed, match=LAST_LINE):
            trial.does("train", lambda: trained(client, FAIL).wait(DEADLINE))
        last = client.jobs.list()[-1]
        assert last.phase is Phase.FAILED
        assert any(LAST_LINE in line for line in client.jobs.get(last.key.name).logs())

    def test_a_job_that_is_cancelled_stops_and_is_remembered(self, trial: Trial) -> None:
        client = trial.connect()
        job = trained(client, WAIT)
        until(lambda: job.state.phase is Phase.RUNNING and "begun" in [*job.logs()])
        trial.does("cancel", job.cancel)
        assert client.jobs.get(job.id).state.phase is Phase.CANCELLED
        until(lambda: not trial.containers)

    def test_a_version_is_registered_and_an_alias_moves_to_it(self, trial: Trial) -> None:
        client = trial.connect()
        first = registered(trial, client, "first")
        second = registered(trial, client, "second", "version")
        assert first.version != second.version
        for version in (first, second, first):
            trial.does("alias", lambda version=version: client.models.alias("fraud", "champion", version.version))
            assert client.models.get("fraud@champion").hash == version.hash
        assert client.models.get("fraud").hash == second.hash, "a name alone is the newest"

    def test_an_endpoint_is_deployed_and_answers_rows(self, trial: Trial) -> None:
        client = trial.connect()
        endpoint = deployed(trial, client, registered(trial, client, "yes"))
        assert trial.does("ask", lambda: endpoint.predict([[1, 2], [3, 4], [5, 6]])) == ["yes"] * 3
        assert (endpoint.state.phase, endpoint.state.facts["traffic"]) == (Phase.READY, {"blue": 100})
        assert endpoint.state.facts["url"]

    def test_a_replacement_loses_no_request_and_removes_the_old(self, trial: Trial) -> None:
        client = trial.connect()
        endpoint = deployed(trial, client, registered(trial, client, "old"))
        new = registered(trial, client, "new", "version")
        with asked(trial) as answers:
            until(lambda: len(answers) > 3)
            deployed(trial, client, new, act="replace")
            until(lambda: answers[-1] == "new")
        assert set(answers) == {"old", "new"}
        assert [part.name for part in endpoint.state.of("deployment")] == ["blue"]
        until(lambda: len(trial.containers) == 1)

    def test_a_broken_model_is_refused_with_its_last_lines_and_the_old_one_goes_on(self, trial: Trial) -> None:
        client = trial.connect()
        endpoint = deployed(trial, client, registered(trial, client, "old"))
        broken = registered(trial, client, "never", "version", BREAKS)
        with pytest.raises((RunFailed, RolledBack), match="it does not load"):
            deployed(trial, client, broken, act="replace in vain")
        assert endpoint.predict([[1, 2]]) == ["old"]
        deployed(trial, client, client.models.get("fraud:1"), act="deploy again")
        assert endpoint.predict([[1, 2]]) == ["old"]
        until(lambda: len(trial.containers) == 1)

    def test_traffic_goes_to_two_deployments_as_it_is_shared(self, trial: Trial) -> None:
        client = trial.connect()
        endpoint = deployed(trial, client, registered(trial, client, "blue"))
        green = registered(trial, client, "green", "version")
        share = {"blue": 50, "green": 50}
        trial.does("share", lambda: endpoint.deploy(green, "green", share, deadline=DEADLINE))
        assert {answer for _ in range(40) for answer in endpoint.predict([[1, 2]])} == {"blue", "green"}
        trial.does("shift", lambda: endpoint.shift({"blue": 0, "green": 100}, deadline=DEADLINE))
        assert {answer for _ in range(20) for answer in endpoint.predict([[1, 2]])} == {"green"}

    def test_captured_requests_become_a_verdict(self, trial: Trial) -> None:
        client, table = trial.connect(), trial.folder / "train.csv"
        table.write_text("amount,age\n" + "".join(f"{row % 10},{20 + row % 30}\n" for row in range(300)))
        folder = python_model(trial.folder / "model", "0")
        version = trial.does("register", lambda: client.models.register("fraud", str(folder), baseline=str(table)))
        endpoint = deployed(trial, client, version, capture=1.0)
        monitor = endpoint.monitor(drift={"psi": 0.2}, min_samples=100)

        def verdict(rows: int) -> str:
            until(lambda: monitor.run(keep=False).samples >= rows)
            report = monitor.run()
            assert report.samples == rows, "each row counts once"
            return str(report.verdict)

        def send(shift: int) -> None:
            for start in range(0, 300, 50):
                endpoint.predict([[row % 10 + shift, 20 + row % 30] for row in range(start, start + 50)])

        send(0)
        assert verdict(300) == "ok"
        send(50)
        assert verdict(600) == "drift"

    def test_what_a_file_describes_is_made_and_destroyed_and_nothing_is_left(self, trial: Trial) -> None:
        client, secret = trial.connect(), uuid.uuid4().hex
        source = trial.folder / "src"
        source.mkdir()
        (source / "train.py").write_text(TRAIN)
        (trial.folder / "cloudml.yaml").write_text(PROJECT.format(secret=secret))
        project, before = config.load(trial.folder / "cloudml.yaml", environ={}), trial.everything()
        trial.does("apply", lambda: plan.apply(client, project, timeout=DEADLINE))
        assert not plan.plan(client, project).changes
        assert client.endpoints.get(ENDPOINT).predict([[1, 2]]) == [f"{secret} 3"]
        assert trial.everything() != before
        trial.does("destroy", lambda: plan.destroy(client, everything=True))
        assert [*client.jobs.list(), *client.models.list(), *client.endpoints.list()] == []
        assert [*client.session.provider.artifacts.list(client.stack)] == []
        until(lambda: not trial.containers)
        assert trial.everything() == before
