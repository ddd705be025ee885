"""Jobs as processes: what they see, what they leave, how they end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local_things import TIMEOUT, connected, until

from cloudml.client import Client
from cloudml.errors import Conflict, RunFailed
from cloudml.handles import Job
from cloudml.specs import TrainingJob
from cloudml.spi import Goal
from cloudml.states import Phase

Train = Callable[..., Job]


@pytest.fixture
def train(client: Client, tmp_path: Path) -> Train:
    def start(script: str, wait: bool = True, **fields: Any) -> Job:
        source = tmp_path / "source"
        source.mkdir(exist_ok=True)
        (source / "train.py").write_text(script)
        job = client.train("fit", source=str(source), command="python train.py", **fields)
        return job.wait(TIMEOUT) if wait else job

    return start


def test_a_job_sees_its_inputs_and_leaves_model_and_metrics(train: Train, tmp_path: Path) -> None:
    data = tmp_path / "rows.csv"
    data.write_text("a,b\n1,2\n")
    script = """
import os, pathlib
print("#cloudml.metric name=rows value=1")
print("#cloudml.metric name=rows value=2")
out = pathlib.Path(os.environ["CLOUDML_MODEL_DIR"])
(out / "seen.txt").write_text(pathlib.Path(os.environ["CLOUDML_INPUT_TRAIN"]).read_text() + os.environ["MODE"])
pathlib.Path("litter").write_text("in the copy, not in the user's folder")
"""
    job = train(script, inputs={"train": str(data)}, env={"MODE": "fast"})
    state = job.state
    assert state.phase is Phase.SUCCEEDED
    assert (state.facts["metrics"], state.facts["exit_code"]) == ({"rows": 2.0}, 0)
    assert (Path(state.facts["model"]) / "seen.txt").read_text() == "a,b\n1,2\nfast"
    assert os.listdir(tmp_path / "source") == ["train.py"]


def test_a_job_without_a_model_succeeds_and_has_none(train: Train) -> None:
    assert train("print(1)").state.facts["model"] is None


def test_a_script_that_raises_is_told_by_its_exception(train: Train) -> None:
    with pytest.raises(RunFailed, match="ValueError: no such thing"):
        train("raise ValueError('no such thing')")


def test_a_job_runs_out_of_time(client: Client) -> None:
    spec = TrainingJob(command=("python", "-c", "import time; time.sleep(60)"), timeout=0.5)
    pursuit = client.session.job("fit", spec)
    with pytest.raises(RunFailed, match=r"still running after 0\.5 s"):
        client.session.pursue(pursuit, TIMEOUT)
    state = client.session.provider.jobs.observe(pursuit.goal.key, None)
    assert state is not None
    assert state.phase is Phase.TIMED_OUT


def test_cancel_ends_the_process_and_keeps_the_run(train: Train, client: Client) -> None:
    job = train("import time; print('begun', flush=True); time.sleep(60)", wait=False)
    until(lambda: "begun" in [line.text for line in client.session.provider.telemetry.logs(job.state, None)[0]])
    job.cancel()
    assert job.state.phase is Phase.CANCELLED
    with pytest.raises(ProcessLookupError):
        os.kill(job.state.native["pid"], 0)


def test_logs_go_on_where_the_cursor_stands(train: Train, client: Client, tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = f"""
import os, time
print("one", flush=True)
while not os.path.exists({str(go)!r}): time.sleep(0.01)
print("two")
"""
    job, logs = train(script, wait=False), client.session.provider.telemetry.logs
    until(lambda: bool(logs(job.state, None)[0]))
    lines, cursor = logs(job.state, None)
    assert [line.text for line in lines] == ["one"]
    assert logs(job.state, cursor)[0] == []
    go.touch()
    job.wait(TIMEOUT)
    assert [line.text for line in logs(job.state, cursor)[0]] == ["two"]


def test_a_second_run_is_another_attempt(train: Train, client: Client) -> None:
    first, second = train("print(1)"), train("print(1)")
    assert first.id.removesuffix("-1") == second.id.removesuffix("-2")
    assert [state.key.name for state in client.jobs.list()] == [first.id, second.id]


def test_another_stack_sees_whose_it_is_and_keeps_its_hands_off(train: Train, home: Path) -> None:
    job = train("print(1)")
    other = connected(home, "other-local").session
    assert [*other.provider.jobs.list("other-local")] == []
    key = type(job.state.key)("job", job.id, "other-local")
    with pytest.raises(Conflict, match="tests-local"):
        other.pursue(other.absent(other.provider.jobs, key), TIMEOUT)


def test_secrets_reach_the_script_and_nothing_that_is_kept(
    train: Train, client: Client, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESTS_TOKEN", "hush-hush")
    script = "import os; assert len(os.environ['TOKEN']) == 9 and 'TESTS_TOKEN' not in os.environ"
    job = train(script, env={"TOKEN": "${secret:env:TESTS_TOKEN}"})
    assert "hush-hush" not in repr(job.state)
    holding = [path for path in home.rglob("*") if path.is_file() and b"hush-hush" in path.read_bytes()]
    assert [path.name for path in holding] == ["task.json"]  # the engine's own, mode 0600
    assert holding[0].stat().st_mode & 0o077 == 0


def test_a_plan_shows_the_call_and_sends_nothing(client: Client, home: Path) -> None:
    spec = TrainingJob(command="true", env={"TOKEN": "${secret:env:X}"}, patch={"local": {"timeout": 5}})
    planned = client.session.preview(client.session.job("fit", spec))
    call = planned[-1].calls[0]
    assert (call.operation, call.document["timeout"]) == ("StartProcess", 5)
    assert str(call.document["env"]["TOKEN"]) == "${secret:env:X}"
    assert not home.exists()


def test_what_was_prepared_and_never_started_is_started(client: Client) -> None:
    session = client.session
    pursuit = session.job("fit", TrainingJob(command="true"))
    call = session.provider.jobs.render(pursuit.goal, None)[0]
    runs = session.provider.jobs._runs  # type: ignore[attr-defined]
    runs._prepare(call.target, call.document)
    have = session.provider.jobs.observe(pursuit.goal.key, None)
    assert have is not None
    assert (have.phase, have.owner) == (Phase.EMPTY, session.stack)
    done = session.pursue(pursuit, TIMEOUT)
    assert done is not None
    assert done.phase is Phase.SUCCEEDED


def test_removing_is_not_done_under_a_running_job(train: Train, client: Client) -> None:
    job = train("import time; time.sleep(60)", wait=False)
    kind, key = client.session.provider.jobs, job.state.key
    calls = [call.operation for call in kind.render(Goal(key), job.state)]
    assert calls == ["StopProcess", "RemoveRun"]
    client.session.pursue(client.session.absent(kind, key), TIMEOUT)
    assert kind.observe(key, None) is None
