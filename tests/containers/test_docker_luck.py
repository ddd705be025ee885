"""The provider ``docker`` when things go wrong: killed clients, an image that is gone, many at once, secrets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import until
from docker_things import TIMEOUT, connected, destroy, left

from cloudml.errors import NotFound
from cloudml.images.requirements import for_source
from cloudml.specs import TrainingJob
from cloudml.spi import Until
from cloudml.states import Phase

MANY = 20
PROJECT = """
version: 1
project: luck
jobs:
  fit:
    command: [python3, -c, "import os, time; print('begun', flush=True); time.sleep({params.seconds}); \
open(os.environ['CLOUDML_MODEL_DIR'] + '/model.py', 'w').write('# {params.nonce}')"]
    params: {seconds: 3, nonce: NONCE}
"""


def job(nonce: str) -> TrainingJob:
    return TrainingJob(command=("python3", "-c", f"open('{{model_dir}}/model.py', 'w').write('# {nonce}')"))


@pytest.fixture
def own_base(engine: Any, base: str, nonce: str) -> Iterator[str]:
    """The base image by a name of the test's own: what is made from it is the test's own too."""
    name = f"cloudml-tests-base:{nonce}"
    engine.images.get(base).tag(name)
    yield name
    for each in (for_source(name, None).name, name):
        if engine.images.list(each):
            engine.images.remove(each, force=True)


def test_an_image_that_is_gone_is_made_again(tmp_path: Path, engine: Any, own_base: str) -> None:
    """By the next process; one that has made it is told in a line."""
    home = tmp_path / "home"
    clients = [connected(home, own_base) for _ in range(2)]
    for number, client in enumerate(clients):
        have = client.session.pursue(client.session.job(f"job-{number}", job(str(number))), TIMEOUT)
        assert have is not None
        assert have.phase is Phase.SUCCEEDED
        engine.images.remove(for_source(own_base, None).name, force=True)
    with pytest.raises(NotFound, match="No such image") as raised:
        clients[0].session.pursue(clients[0].session.job("job-2", job("2")), TIMEOUT)
    assert "\n" not in str(raised.value)
    destroy(clients[0])
    assert not left(engine, home)


def test_twenty_jobs_at_once(tmp_path: Path, engine: Any, base: str, nonce: str) -> None:
    """Each from a client of its own, which all make the image first; more wait than may run."""
    home = tmp_path / "home"
    began = connected(home, base, cpus=4)

    def run(number: int) -> str:
        session = connected(home, base, cpus=4).session
        have = session.pursue(session.job(f"job-{number}", job(f"{nonce} {number}")), TIMEOUT)
        assert have is not None
        assert have.phase is Phase.SUCCEEDED
        return (Path(have.facts["model"]) / "model.py").read_text()

    with ThreadPoolExecutor(MANY) as pool:
        assert list(pool.map(run, range(MANY))) == [f"# {nonce} {number}" for number in range(MANY)]
    destroy(began)
    assert not left(engine, home)


def test_a_secret_is_nowhere_but_in_the_container(
    tmp_path: Path, engine: Any, base: str, nonce: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, secret = tmp_path / "home", f"hush-{nonce}"
    monkeypatch.setenv("LUCK_TOKEN", secret)
    client = connected(home, base)
    line = "import os, time; print(len(os.environ['TOKEN']), flush=True); time.sleep(2)"
    want = TrainingJob.model_validate(
        {"command": ["python3", "-c", line], "env": {"TOKEN": "${secret:env:LUCK_TOKEN}"}, "labels": {"team": "risk"}}
    )
    pursuit = client.session.job("quiet", want)
    planned = pursuit.kind.render(pursuit.goal, None)
    client.session.pursue(pursuit, TIMEOUT, until=Until.SUBMITTED)
    until(lambda: left(engine, home))
    (name,) = left(engine, home)
    (container,) = [each for each in engine.containers.list(all=True) if each.name.startswith(name)]
    about = container.attrs
    assert any(secret in line for line in about["Config"].pop("Env")), "it has it"
    assert secret not in json.dumps(about) + repr(planned)
    image = engine.images.get(about["Image"])
    assert secret not in json.dumps(image.history()) + json.dumps(image.attrs)
    have = client.session.pursue(pursuit, TIMEOUT)
    assert have is not None
    lines, _ = client.session.provider.telemetry.logs(have, None)
    assert str(len(secret)) in [line.text for line in lines]
    kept = [path for path in home.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert {path.name for path in kept} <= {"task.json"}, "what starts it again"
    assert not any(path.stat().st_mode & 0o077 for path in kept), "and nobody else may read that"
    destroy(client)
    assert not left(engine, home)


@pytest.mark.parametrize("when", ["it has stored something", "the run is prepared", "the container is there"])
def test_a_client_that_is_killed_loses_nothing(when: str, tmp_path: Path, engine: Any, base: str, nonce: str) -> None:
    """``kill -9``; the next apply goes on with the same job, and there is one."""
    (tmp_path / "cloudml.yaml").write_text(PROJECT.replace("NONCE", nonce))
    place = tmp_path / "home" / "docker"
    env = {**os.environ, "CLOUDML_HOME": str(place.parent), "CLOUDML_IMAGE_BASE": base}
    words = [sys.executable, "-m", "cloudml", "apply", "-p", "docker"]
    moments: dict[str, Callable[[], object]] = {
        "it has stored something": lambda: any(place.glob("store/*")),
        "the run is prepared": lambda: any(place.glob("runs/*/job.json")),
        "the container is there": lambda: left(engine, place),
    }
    with open(tmp_path / "said", "wb") as file:
        first = subprocess.Popen(words, cwd=tmp_path, env=env, stdout=file, stderr=file)
    try:
        until(lambda: first.poll() is not None or moments[when]())
    finally:
        first.kill()
    assert first.wait() == -signal.SIGKILL, (tmp_path / "said").read_text()
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = (place / "runs").iterdir()
    assert [path.name for path in (place / "jobs").glob("[!.]*")] == [run.name]
    assert (run / "output/model/model.py").read_text() == f"# {nonce}"
    destroy(connected(place, base))
    assert not left(engine, place)
