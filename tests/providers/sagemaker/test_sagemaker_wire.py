"""All that is said to AWS and back in one life of a job, a model and an endpoint, as botocore itself hears it.

Each request and each answer is what AWS's own model says, and the policy of `cloudml permissions` allows each request.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.history import BaseHistoryHandler, get_global_history_recorder
from botocore_shapes import answer_problems, problems, service
from sagemaker_things import python_model

from cloudml.client import Client
from cloudml.config.loading import load
from cloudml.emulation.faults import Fault, Faults, Trouble
from cloudml.plan import apply, destroy
from cloudml.spi import Scope
from cloudml.states import Phase
from cloudml_sagemaker.permissions import actions as needed
from cloudml_sagemaker.permissions import policy
from cloudml_sagemaker.plugin import Config

Connected = Callable[..., Client]
SERVICES = ("sagemaker", "s3", "logs", "cloudwatch", "application-autoscaling", "iam")
CHECKED = ("sagemaker", "application-autoscaling")  # of which the answers are looked at too
PREFIXES = {"sagemaker-runtime": "sagemaker"}  # of actions, where it is not the service's name
TRAIN = "open('{model_dir}/model.py', 'w').write('class Model: pass')"


@dataclass
class Said:
    """One request, and its answer."""

    service: str
    operation: str
    asked: Mapping[str, Any]
    answer: Mapping[str, Any] | None = None


class Listener(BaseHistoryHandler):  # type: ignore[misc]  # botocore has no types
    """What this thread says and hears: in others, the emulator of this process has clients of its own."""

    def __init__(self) -> None:
        self.calls: list[Said] = []

    def emit(self, event_type: str, payload: Any, source: str) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        if event_type == "API_CALL":
            self.calls.append(Said(payload["service"], payload["operation"], payload["params"]))
        if event_type == "PARSED_RESPONSE":
            self.calls[-1].answer = payload

    def count(self) -> Counter[str]:
        return Counter(each.operation for each in self.calls)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    recorder, listener = get_global_history_recorder(), Listener()
    monkeypatch.setattr(recorder, "_handlers", [listener])
    recorder.enable()
    yield listener
    recorder.disable()


def life(client: Client, folder: Path) -> None:
    job = client.train("fraud", command=["python", "-c", TRAIN], wait=True)
    list(job.logs())
    job.register("fraud", alias="champion", approval="approved")
    data = folder.with_suffix(".csv")
    data.write_text("a,b,y\n1,2,0\n2,3,1\n")
    baseline = {"data": str(data), "target": "y"}
    client.models.register("fraud", str(python_model(folder, "1")), baseline=baseline)
    endpoint = client.deploy("fraud-api", "fraud", capture=1.0, scale={"min": 1, "max": 2, "metric": "requests"})
    endpoint.predict([[1, 2]])
    list(endpoint.logs())
    for threshold in (0.2, 0.3):
        endpoint.monitor(drift={"psi": threshold}, schedule="0 * * * *")
    endpoint.deploy("fraud:2", name="green", traffic={"blue": 90, "green": 10})
    destroy(client, everything=True)


def test_all_that_is_said_is_what_aws_s_model_says_and_the_policy_allows(
    connected: Connected, own: Config, heard: Listener, tmp_path: Path
) -> None:
    life(connected(), tmp_path / "model")
    assert len(heard.calls) > 50
    for said in heard.calls:
        if said.service != "s3":  # a body may be a file there
            assert not problems(said.operation, said.asked, said.service)
        if said.service in CHECKED and said.answer and "Error" not in said.answer:
            assert not answer_problems(said.operation, said.answer, said.service)
    names = {"job": ["fraud"], "model": ["fraud"], "endpoint": ["fraud-api"]}
    allowed = policy(own, Scope("shop-test", names))["Statement"]
    actions = {action for statement in allowed for action in statement["Action"]}
    needs = {each for said in heard.calls for each in needed(PREFIXES.get(said.service, said.service), said.operation)}
    assert needs <= actions


def test_the_policy_names_only_what_there_is(own: Config) -> None:
    """An action that no service has is a slip of the pen."""
    known = {f"{name}:{operation}" for name in SERVICES for operation in operations(name)}
    known |= {"sagemaker:InvokeEndpoint", "iam:PassRole", "s3:ListBucket"}
    names = {"job": ["fraud"], "model": ["fraud"], "endpoint": ["fraud-api"]}
    for statement in policy(own, Scope("shop-test", names))["Statement"]:
        assert set(statement["Action"]) <= known
        assert re.fullmatch(r"[A-Za-z0-9]+", statement["Sid"])


def operations(name: str) -> list[str]:
    found: list[str] = service(name).operation_names
    return found


def test_watching_many_jobs_takes_lists_not_descriptions(connected: Connected, heard: Listener) -> None:
    client = connected()
    runs = [client.train(f"job-{number}", command="sleep 4") for number in range(12)]
    heard.calls.clear()
    client.jobs.wait(runs)
    said = heard.count()
    assert said["ListTrainingJobs"] >= 3
    assert 12 <= said["DescribeTrainingJob"] <= 24


def test_jobs_over_the_quota_wait_for_their_turn(
    connected: Connected, heard: Listener, faults: Faults, tmp_path: Path
) -> None:
    """And a list that is refused for its rate is asked for again."""
    file = tmp_path / "cloudml.yaml"
    jobs = [f"  job-{number}: {{command: sleep 1, params: {{n: {number}}}}}" for number in range(3)]
    file.write_text("\n".join(["version: 1", "project: shop", "jobs:", *jobs]))
    client, wanted = connected(), load(file, env="test", provider="sagemaker")
    faults.add(Fault(Trouble.QUOTA, "CreateTrainingJob", "shop-job-2-*"))
    faults.add(Fault(Trouble.THROTTLE, "ListTrainingJobs", times=2))
    outcome = apply(client, wanted)
    assert [state.phase for state in outcome.states.values() if state] == [Phase.SUCCEEDED] * 3
    assert heard.count()["CreateTrainingJob"] == 4
    assert not [*faults]


def test_jobs_are_listed_again_without_reading_their_tags(connected: Connected, heard: Listener) -> None:
    client = connected()
    for number in range(12):
        client.train(f"job-{number}", command="true")
    watched = connected()
    jobs = watched.session.provider.jobs
    list(jobs.list(watched.stack))
    heard.calls.clear()
    for _ in range(10):
        assert len(list(jobs.list(watched.stack))) == 12
    assert heard.count() == {"ListTrainingJobs": 10}


def test_a_prediction_is_one_call_and_a_look_few(connected: Connected, heard: Listener, tmp_path: Path) -> None:
    client = connected()
    client.models.register("fraud", str(python_model(tmp_path / "one", "1")))
    endpoint = client.deploy("fraud-api", "fraud")
    _ = endpoint.state
    heard.calls.clear()
    _ = endpoint.state
    looks = ("DescribeEndpoint", "ListEndpointConfigs", "ListModels", "ListTags", "DescribeScalableTargets")
    assert heard.count() == dict.fromkeys(looks, 1)
    heard.calls.clear()
    assert endpoint.predict([[1, 2]]) == [1]
    assert heard.count() == {"InvokeEndpoint": 1}
