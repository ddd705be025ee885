"""``python -m cloudml.engines.attached FOLDER LABEL``: one container of a task, from its creation to its removal.

FOLDER is the task's, in the process engine. SIGTERM stops the container within its grace; the exit code is its own,
125 if Docker would not run it. A container that an earlier client of the same task left is removed first.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from cloudml.engines import OUT_OF_MEMORY
from cloudml.errors import CloudmlError, ProviderError

ENGINE, TASK = "cloudml-engine", "cloudml-task"  # labels
NOTE = "container.json"
REFUSED = 125  # exit code, as `docker run` has it
STOPPED = 143
LOOPBACK = "127.0.0.1"


def noted(folder: Path) -> dict[str, Any]:
    """What the client wrote down; empty if it did not come so far."""
    try:
        found: dict[str, Any] = json.loads((folder / NOTE).read_bytes())
    except (OSError, ValueError):
        return {}
    return found


def note(folder: Path, document: dict[str, Any]) -> None:
    _replace(folder / NOTE, document)


def _replace(path: Path, document: dict[str, Any]) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(document))
    draft.replace(path)


class Client:
    """Runs one container."""

    def __init__(self, folder: Path, label: str) -> None:
        self._folder = folder
        self._task: dict[str, Any] = json.loads((folder / "task.json").read_bytes())
        self._wanted: dict[str, Any] = self._task["container"]
        self._name = f"cloudml-{self._task['id']}-{label}"[:200]
        self._labels = {**self._task["labels"], ENGINE: label, TASK: self._task["id"]}
        self._asked = threading.Event()
        self._container: Any = None
        signal.signal(signal.SIGTERM, self._ask)
        signal.signal(signal.SIGINT, self._ask)

    def run(self) -> int:
        """The exit code of the container. Raises ProviderError if Docker would not run it."""
        from cloudml.engines import daemon

        with daemon.refused():
            engine = daemon.connect()
            self._remove_old(engine)
            if self._asked.is_set():
                return STOPPED
            note(self._folder, {"made": True})  # before it is: whoever finds none has nothing to do
            self._container = engine.containers.create(self._wanted["image"], **self._options())
            try:
                return self._follow()
            finally:
                self._container.remove(force=True, v=True)
                note(self._folder, noted(self._folder) | {"made": False})

    def _remove_old(self, engine: Any) -> None:
        labels = [f"{name}={self._labels[name]}" for name in (ENGINE, TASK)]
        for each in engine.containers.list(all=True, filters={"label": labels}, ignore_removed=True):
            each.remove(force=True, v=True)

    def _follow(self) -> int:
        output = self._container.attach(stdout=True, stderr=True, stream=True)
        self._container.start()
        if self._asked.is_set():  # it came before there was anything to stop
            self._stop()
        self._announce()
        for chunk in output:
            while chunk:
                chunk = chunk[os.write(1, chunk) :]
        code: int = self._container.wait(timeout=None)["StatusCode"]
        self._container.reload()
        state = self._container.attrs["State"]
        if code and state["OOMKilled"]:
            limit = readable(self._wanted["memory"]) if self._wanted["memory"] else "the machine's"
            self._reason(f"{OUT_OF_MEMORY}: the limit is {limit}")
        return code

    def _announce(self) -> None:
        if not self._wanted["announce"]:
            return
        self._container.reload()
        published = [each for each in (self._container.attrs["NetworkSettings"]["Ports"] or {}).values() if each]
        if published:  # else it has ended already
            found = {"pid": os.getpid(), "port": int(published[0][0]["HostPort"])}
            _replace(Path(self._wanted["announce"]), found)

    def _reason(self, text: str) -> None:
        note(self._folder, noted(self._folder) | {"reason": text})

    def refuse(self, error: CloudmlError) -> int:
        """Write down why there is no container."""
        text = f"{error}; {error.hint}" if error.hint else str(error)
        self._reason(text)
        sys.stderr.write(f"cloudml: {text}\n")
        return REFUSED

    def _ask(self, *_: object) -> None:
        if not self._asked.is_set():
            self._asked.set()
            if self._container is not None:
                threading.Thread(target=self._stop, daemon=True).start()

    def _stop(self) -> None:
        from cloudml.engines import daemon

        with suppress(ProviderError), daemon.refused():  # it has ended by itself
            self._container.stop(timeout=int(self._wanted["inside"]["grace"]))

    def _options(self) -> dict[str, Any]:
        wanted, inside = self._wanted, self._wanted["inside"]
        env = inside["env"] | {name: os.environ[name] for name in ("CLOUDML_ATTEMPT",) if name in os.environ}
        options: dict[str, Any] = {
            "command": inside["argv"],
            "name": self._name,
            "labels": self._labels,
            "environment": env,
            "working_dir": inside["cwd"],
            "user": wanted["user"],
            "read_only": wanted["read_only"],
            "pids_limit": wanted["pids"],
            "log_config": {"type": "none", "config": {}},  # its output is kept once: the task's
            "volumes": [
                f"{each['path']}:{each['inside'] or each['path']}:{'ro' if each['read_only'] else 'rw'}"
                for each in wanted["mounts"]
            ],
        }
        if wanted["entrypoint"]:
            options["entrypoint"] = wanted["entrypoint"]
        if wanted["read_only"]:
            options["tmpfs"] = {"/tmp": "exec"}
        if wanted["cpus"]:
            options["nano_cpus"] = int(min(wanted["cpus"], os.cpu_count() or 1) * 1e9)
        if wanted["memory"]:  # without swap: a limit that is passed is an end, not a crawl
            options |= {"mem_limit": wanted["memory"], "memswap_limit": wanted["memory"]}
        if wanted["shm"]:
            options["shm_size"] = wanted["shm"]
        if wanted["gpus"]:
            from docker.types import DeviceRequest

            options["device_requests"] = [DeviceRequest(count=wanted["gpus"], capabilities=[["gpu"]])]
        if wanted["port"]:
            options["ports"] = {f"{wanted['port']}/tcp": (LOOPBACK, wanted["host_port"])}
        return options


def readable(size: int) -> str:
    """Bytes, as people say them."""
    for power, unit in ((30, "Gi"), (20, "Mi"), (10, "Ki")):
        if size >= 1 << power:
            return f"{size / (1 << power):.3g} {unit}B"
    return f"{size} bytes"


def main(folder: str, label: str) -> int:
    client = Client(Path(folder), label)
    try:
        return client.run()
    except CloudmlError as error:
        return client.refuse(error)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
