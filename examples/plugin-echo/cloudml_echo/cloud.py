"""The cloud itself, in a folder: yours is elsewhere, and has an SDK in place of this file.

A document has a path and an etag, a job is a process with a folder. Its errors are the operating system's, Refused, and
pydantic's for a request that a model cannot read. It does not notice a reboot, and needs `sh` and `timeout`.
"""

import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
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
ln "$1" document.json || exit 1
(
    trap 'echo stopped >exit; exit' TERM
    echo $$ >pid
    { cp -R "${2:-empty}" source && [ ! -e stop ] && shift 2 && timeout --foreground "$@"; } >log 2>&1
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

    def names(self, kind: str) -> list[str]:
        return sorted(file.parent.name for file in self.root.glob(f"{kind}/*/document.json"))

    def text(self, path: str) -> str:
        file = self.root / path
        return file.read_text(errors="replace") if file.exists() else ""

    def get(self, path: str) -> Document:
        document: Document = json.loads((self.root / path / "document.json").read_text())
        return {**document, **self._job(path)} if path.startswith("jobs/") else document

    def _job(self, path: str) -> Document:
        code, stopped = self.text(f"{path}/exit").strip(), (self.root / path / "stop").exists()
        status = ENDS.get(code, "Failed")
        if stopped and status != "Succeeded":
            status = "Stopped" if code else "Stopping"
        metrics = [json.loads(line) for line in self.text(f"{path}/output/metrics.jsonl").splitlines()]
        failure = json.loads(self.text(f"{path}/output/failure.json") or "{}")
        return {"status": status, "code": code, "metrics": metrics, "failure": failure}

    def put(self, path: str, body: Mapping[str, Any]) -> str | None:
        """Replaces a document, if it is still the one that was read; a text says why it cannot serve as it is."""
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
            _draft(file.parent, {**body["document"], "created": have.get("created", time.time())}).replace(file)
        return None

    def delete(self, path: str, body: Mapping[str, Any]) -> None:
        if self.get(path).get("status") in ("Running", "Stopping"):
            raise Refused(f"{path} is running")
        shutil.rmtree(self.root / path)

    def start(self, path: str, body: Mapping[str, Any]) -> None:
        folder = self.root / path
        (folder / "empty").mkdir(parents=True, exist_ok=True)
        draft = _draft(folder, {"labels": body["labels"], "model": body["model"], "created": time.time()})
        words = [draft.name, body["source"] or "", str(body["timeout"]), *body["command"]]
        done = subprocess.run(
            ["sh", "-c", RUN, "run", *words],
            cwd=folder,
            env={**os.environ, **body["env"]},
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        draft.unlink()
        if done.returncode:
            raise FileExistsError(f"there is a {path} already")

    def stop(self, path: str, body: Mapping[str, Any]) -> None:
        (self.root / path / "stop").touch()
        if (leader := self.text(f"{path}/pid").strip()) and self.get(path)["status"] == "Stopping":
            with suppress(ProcessLookupError):  # it has just ended
                os.killpg(int(leader), signal.SIGTERM)

    def ask(self, path: str, body: bytes, pinned: str | None) -> Document:
        """Each row is its own prediction; beside them stands the model that was asked."""
        rows, endpoint = Request.model_validate_json(body).instances, self.get(path)
        chosen = pinned or random.choices([*endpoint["traffic"]], [*endpoint["traffic"].values()])[0]
        with open(self.root / path / "asked", "a") as file:
            file.write(f"{time.time()} {chosen}\n")
        if random.random() < endpoint["capture"]:
            kept = {"id": uuid.uuid4().hex, "time": time.time(), "rows": rows, "deployment": chosen}
            with open(self.root / path / "captured.jsonl", "a") as file:
                file.write(json.dumps(kept) + "\n")
        return {"predictions": rows, "model": endpoint["deployments"][chosen]["uri"]}


def _draft(folder: Path, document: Document) -> Path:
    draft = folder / f"{uuid.uuid4().hex}.draft"
    draft.write_text(json.dumps({**document, "etag": uuid.uuid4().hex}))
    return draft
