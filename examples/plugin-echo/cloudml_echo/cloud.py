"""The cloud itself, in a folder: one document per path. Yours is elsewhere, and has an SDK in place of this file.

It has no process of its own, but each of its jobs is one. Its errors are the operating system's, Refused, and
pydantic's for a request that a model cannot read. It does not notice a reboot, and needs `sh` and
`timeout`: it is an example.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel

Document = dict[str, Any]
ENDS = {"": "Running", "0": "Succeeded", "124": "TimedOut"}  # 124 is how `timeout` says so
# The link shows the job to everybody, and only one process can make it; what follows outlives that process.
RUN = """
draft=$1 source=$2 model=$3 seconds=$4 nice=$5 python=$6
ln "$draft" document.json || exit 1
(
    trap 'echo stopped >exit; exit' TERM
    echo $$ >pid
    {
        cp -R "$source" source && [ ! -e stop ] &&
        timeout --foreground "$seconds" nice -n "$nice" "$python" -m cloudml.runtime train &&
        mkdir -p "$model" && cp -R output/model/. "$model"
    } >log 2>&1
    echo $? >exit
) &
"""


class Refused(Exception):
    """The document changed since it was read, or the job is running."""


class Request(BaseModel):
    instances: list[Any]


class Cloud:
    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def get(self, path: str) -> Document:
        document: Document = json.loads((self.root / path / "document.json").read_text())
        return document

    def names(self, kind: str) -> list[str]:
        return sorted(file.parent.name for file in self.root.glob(f"{kind}/*/document.json"))

    def request(self, method: str, path: str, body: Mapping[str, Any]) -> str | None:
        """Carries out one write; the text, if any, says why what was taken could not be done."""
        methods = {"PUT": self._put, "DELETE": self._delete, "START": self._start, "STOP": self._stop}
        return methods[method](path, body)

    def job(self, path: str) -> Document:
        folder = self.root / path
        code, stopped = _text(folder / "exit").strip(), (folder / "stop").exists()
        status = ENDS.get(code, "Failed")
        if stopped and status != "Succeeded":
            status = "Stopped" if code else "Stopping"
        metrics = [json.loads(line) for line in _text(folder / "output/metrics.jsonl").splitlines()]
        failure = json.loads(_text(folder / "output/failure.json") or "{}")
        return {**self.get(path), "status": status, "code": code, "metrics": metrics, "failure": failure}

    def text(self, path: str, file: str) -> str:
        """What has been written to ``log`` or to ``captured.jsonl``."""
        return _text(self.root / path / file)

    def ask(self, path: str, body: bytes, pinned: str | None) -> Document:
        """Each row is its own prediction; beside them stands the model that was asked."""
        rows, endpoint = Request.model_validate_json(body).instances, self.get(path)
        chosen = pinned or random.choices([*endpoint["traffic"]], [*endpoint["traffic"].values()])[0]
        if random.random() < endpoint["capture"]:
            kept = {"id": uuid.uuid4().hex, "time": time.time(), "rows": rows, "deployment": chosen}
            with open(self.root / path / "captured.jsonl", "a") as file:
                file.write(json.dumps(kept) + "\n")
        return {"predictions": rows, "model": endpoint["deployments"][chosen]["uri"]}

    def _put(self, path: str, body: Mapping[str, Any]) -> str | None:
        """Replaces a document, if it is still the one that was read (``etag``) and the files it names are there."""
        for uri in body["files"]:
            files = [file for file in (Path(uri), *Path(uri).rglob("*")) if file.is_file()]
            if not files or (path.startswith("endpoints/") and not any(file.stat().st_size for file in files)):
                return f"there is no model at {uri}, or an empty one"
        file = self.root / path / "document.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(self.root / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            have = self.get(path) if file.exists() else {}
            if have.get("etag") != body["etag"]:
                raise Refused(f"{path} changed since it was read")
            identity = {"etag": uuid.uuid4().hex, "created": have.get("created", time.time())}
            _draft(file.parent, {**body["document"], **identity}).replace(file)
        return None

    def _delete(self, path: str, body: Mapping[str, Any]) -> None:
        if path.startswith("jobs/") and self.job(path)["status"] in ("Running", "Stopping"):
            raise Refused(f"{path} is running")
        shutil.rmtree(self.root / path)

    def _start(self, path: str, body: Mapping[str, Any]) -> None:
        folder = self.root / path
        (folder / "empty").mkdir(parents=True, exist_ok=True)
        job, draft = body["job"], _draft(folder, {**body["job"], "source": "source", "created": time.time()})
        words = [job["source"] or "empty", job["model"], str(body["timeout"]), str(body["nice"]), sys.executable]
        own = {"CLOUDML_JOB": str(folder / "document.json"), "CLOUDML_OUTPUT_DIR": str(folder / "output")}
        modules = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "CLOUDML_PLATFORM": "echo"}
        done = subprocess.run(
            ["sh", "-c", RUN, "run", draft.name, *words],
            cwd=folder,
            env={**os.environ, **modules, **body["env"], **own},
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        draft.unlink()
        if done.returncode:
            raise FileExistsError(f"there is a {path} already")

    def _stop(self, path: str, body: Mapping[str, Any]) -> None:
        (self.root / path / "stop").touch()
        if (leader := _text(self.root / path / "pid").strip()) and self.job(path)["status"] == "Stopping":
            with suppress(ProcessLookupError):  # it has just ended
                os.killpg(int(leader), signal.SIGTERM)


def _draft(folder: Path, document: Document) -> Path:
    draft = folder / f"{uuid.uuid4().hex}.draft"
    draft.write_text(json.dumps(document))
    return draft


def _text(file: Path) -> str:
    return file.read_text(errors="replace") if file.exists() else ""
