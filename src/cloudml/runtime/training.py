"""``python -m cloudml.runtime train``: one run of a job, from what is asked to the manifest. Standard library only."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import site
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cloudml.content import MANIFEST
from cloudml.errors import ConfigError
from cloudml.runtime import command, metric_lines, platforms
from cloudml.runtime.child import Child, Tail
from cloudml.runtime.cluster import Cluster, cluster
from cloudml.runtime.failures import JobFailure, explain
from cloudml.runtime.installing import InstallFailed, install
from cloudml.runtime.job import Folders, Job, from_options, read_job
from cloudml.runtime.manifest import FILES, why_not_served, write_manifest

OK, USER_ERROR, BAD_CONFIG, RETRYABLE = 0, 1, 2, 75
GRACE = 20.0  # seconds between a forwarded SIGTERM and SIGKILL, unless CLOUDML_STOP_GRACE says otherwise


def train(options: Sequence[str] = ()) -> int:
    """Run the job that the options or the environment describe.

    Returns 0, 1 (the job's fault), 2 (bad config) or 75 (try again).
    """
    try:
        job, folders = from_options(options) if options else _from_environment()
        with contextlib.suppress(FileNotFoundError):
            (folders.output / "failure.json").unlink()  # an earlier attempt's
    except ConfigError as error:
        return _refused(error, None)
    try:
        place = cluster({**platforms.nodes(os.environ, Path("/")), **os.environ})
        return Run(job, folders, place).run()
    except ConfigError as error:
        return _refused(error, folders)


def _from_environment() -> tuple[Job, Folders]:
    output = os.environ.get("CLOUDML_OUTPUT_DIR")
    if not output:
        raise ConfigError("CLOUDML_OUTPUT_DIR is not set")
    attempt = os.environ.get("CLOUDML_ATTEMPT")  # of a platform that starts a job again by itself
    if attempt not in (None, "1"):
        shutil.rmtree(Path(output) / "model", ignore_errors=True)  # what an earlier one began; checkpoints stay
    folders = Folders.below(Path(output).absolute())
    try:
        job = read_job(os.environ.get("CLOUDML_JOB", ""))
        if attempt:
            job = replace(job, attempt=int(_positive(attempt, "CLOUDML_ATTEMPT")))
    except ConfigError as error:
        _write_failure(folders, JobFailure("ConfigError", str(error), None, BAD_CONFIG), 1)
        raise
    return job, folders


def _refused(error: ConfigError, folders: Folders | None) -> int:
    _say(str(error))
    if folders is not None:
        _write_failure(folders, JobFailure("ConfigError", str(error), None, BAD_CONFIG), 1)
    return BAD_CONFIG


class Run:
    """One run: install, start, watch, and at the end say what came of it."""

    def __init__(self, job: Job, folders: Folders, place: Cluster) -> None:
        self._job = job
        self._folders = folders
        self._place = place
        self._recorded: dict[str, float] = {}
        self._stderr = Tail()
        grace = os.environ.get("CLOUDML_STOP_GRACE", str(GRACE))
        self._child = Child(_positive(grace, "CLOUDML_STOP_GRACE"))

    def run(self) -> int:
        """Raises ConfigError when the command's templates or the source are not right; nothing was started then."""
        if not self._job.source.is_dir():
            raise ConfigError(f"the source {self._job.source} is not a folder")
        argv = command.argv(self._job.command, _names(self._job, self._folders, self._place))
        env = _environment(self._job, self._folders, self._place)
        with self._child.forwarding():
            try:
                added = install(self._job.source / "requirements.txt", self._folders.packages, self._pip)
                env["PYTHONPATH"] = _python_path(env, added)
                code = self._child.run(argv, self._job.source, env, self._metric, self._stderr)
            except InstallFailed as error:
                said = "\n".join(self._stderr.lines())
                return self._failed(JobFailure("InstallFailed", str(error), said, USER_ERROR))
            except OSError as error:
                return self._failed(JobFailure("CommandNotStarted", str(error), None, 127))
            return self._end(code)

    def _end(self, code: int) -> int:
        """What came of the command; a signal that arrives now is too late to matter."""
        self._take_metrics()
        if code != 0:
            self._failed(explain(code, self._stderr.lines()))
            return RETRYABLE if code == RETRYABLE else USER_ERROR
        return self._finish()

    def _pip(self, arguments: list[str]) -> int:
        _say("installing the source's requirements.txt")
        argv = [sys.executable, "-m", "pip", *arguments]
        # pip's words go to stderr: stdout belongs to the job
        return self._child.run(argv, self._job.source, os.environ, self._stderr, self._stderr, stdout=2)

    def _metric(self, line: bytes) -> None:
        metric = metric_lines.parse(line)
        if metric is not None:
            self._recorded[metric.name] = metric.value
            self._keep([metric])

    def _keep(self, metrics: list[metric_lines.Metric]) -> None:
        """On a full disk the job goes on without them: its own words tell what happened."""
        try:
            metric_lines.append(self._folders.output / "metrics.jsonl", metrics)
        except OSError as error:
            _say(f"metrics are not recorded: {error}")

    def _take_metrics(self) -> None:
        for path in (self._folders.data / "metrics.json", self._folders.model / "metrics.json"):
            metrics, wrong = metric_lines.from_file(path, self._recorded)
            for sentence in wrong:
                _say(sentence)
            if metrics:
                self._keep(metrics)
                self._recorded.update({metric.name: metric.value for metric in metrics})

    def _finish(self) -> int:
        model = self._folders.model
        if self._place.node_rank != 0 or not any(path.name != MANIFEST for path in model.iterdir()):
            return OK
        try:
            manifest = write_manifest(model)
        except ConfigError as error:
            return self._failed(JobFailure("ConfigError", str(error), None, USER_ERROR))
        if manifest.flavor == FILES:
            _say(f"the model is kept as plain files and cannot be served: {why_not_served(model)}")
        return OK

    def _failed(self, failure: JobFailure) -> int:
        _say(f"{failure.type}: {failure.message}")
        _write_failure(self._folders, failure, self._job.attempt)
        return USER_ERROR


def _names(job: Job, folders: Folders, place: Cluster) -> dict[str, Any]:
    return {
        "model_dir": str(folders.model),
        "output_dir": str(folders.output),
        "checkpoint_dir": str(folders.checkpoints),
        "node_rank": place.node_rank,
        "num_nodes": place.num_nodes,
        **{f"params.{name}": value for name, value in job.params.items()},
        **{f"inputs.{name}": value for name, value in job.inputs.items()},
    }


def _environment(job: Job, folders: Folders, place: Cluster) -> dict[str, str]:
    def variable(name: str) -> str:
        return "".join(letter if letter.isalnum() else "_" for letter in name.upper())

    own, path = str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)
    return {
        "PYTHONUNBUFFERED": "1",
        **os.environ,
        "PATH": path
        if own in path.split(os.pathsep)
        else own + os.pathsep + path,  # `python` inside a line is this one
        **job.env,
        "CLOUDML_JOB_ID": job.id,
        "CLOUDML_JOB_NAME": job.name,
        "CLOUDML_ATTEMPT": str(job.attempt),
        "CLOUDML_PARAMS": json.dumps(job.params),
        "CLOUDML_INPUTS": json.dumps(job.inputs),
        "CLOUDML_OUTPUT_DIR": str(folders.output),
        "CLOUDML_MODEL_DIR": str(folders.model),
        "CLOUDML_CHECKPOINT_DIR": str(folders.checkpoints),
        "CLOUDML_NUM_NODES": str(place.num_nodes),
        "CLOUDML_NODE_RANK": str(place.node_rank),
        "CLOUDML_MASTER_ADDR": place.master_addr,
        "CLOUDML_MASTER_PORT": str(place.master_port),
        **{f"CLOUDML_PARAM_{variable(name)}": command.text(value) for name, value in job.params.items()},
        **{f"CLOUDML_INPUT_{variable(name)}": value for name, value in job.inputs.items()},
    }


def _python_path(env: Mapping[str, str], added: Path | None) -> str:
    """What was installed goes first, then the user's path, then this runtime if the script could not import it."""
    given = [entry for entry in env.get("PYTHONPATH", "").split(os.pathsep) if entry]
    root = str(Path(__file__).parent.parent.parent)
    known = [*given, *site.getsitepackages(), site.getusersitepackages()]
    return os.pathsep.join(([str(added)] if added else []) + given + ([] if root in known else [root]))


def _write_failure(folders: Folders, failure: JobFailure, attempt: int) -> None:
    """``failure.json``, and where the cloud shows a text of its own, that."""
    text = json.dumps({**asdict(failure), "attempt": attempt}, indent=2) + "\n"
    draft = folders.output / "failure.json.draft"
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(folders.output / "failure.json")
        if folders.failure is not None:
            folders.failure.write_text(f"{failure.type}: {failure.message}", encoding="utf-8")
        if os.environ.get("CLOUDML_FAILURE_FILE"):  # for whoever started this process
            Path(os.environ["CLOUDML_FAILURE_FILE"]).write_text(text, encoding="utf-8")
    except OSError as error:  # a full disk: the exit code and the log are left
        _say(f"failure.json is not written: {error}")


def _positive(text: str, name: str) -> float:
    try:
        return max(float(text), 0.0)
    except ValueError:
        raise ConfigError(f"{name}={text!r} is not a number") from None


def _say(sentence: str) -> None:
    sys.stderr.write(f"cloudml: {sentence}\n")
    sys.stderr.flush()
