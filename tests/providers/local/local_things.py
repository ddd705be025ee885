"""What the tests of ``local`` share: a client over a folder, small models, and waiting with a deadline."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from cloudml.client import Client, connect_plugin
from cloudml.events import Listener
from cloudml.runtime.manifest import write_manifest
from cloudml.states import State
from cloudml_local.plugin import plugin

STACK = "tests-local"
TIMEOUT = 60.0


def connected(home: Path, stack: str = STACK, listeners: Sequence[Listener] = ()) -> Client:
    return connect_plugin(plugin, stack, list(listeners), {"home": str(home)})


def destroy(client: Client) -> None:
    """Everything of every stack in this home."""
    session = client.session
    for kind in (session.provider.endpoints, session.provider.models, session.provider.jobs):
        for state in list(kind.list(None)):
            session.pursue(session.absent(kind, state.key), TIMEOUT, adopt=True)
        assert not list(kind.list(None))


def python_model(folder: Path, expression: str, top: str = "") -> Path:
    folder.mkdir()
    (folder / "model.py").write_text(f"""{top}
class Model:
    def __init__(self, folder): pass
    def predict(self, rows): return [{expression} for row in rows]
""")
    write_manifest(folder)
    return folder


def until(condition: Callable[[], bool], seconds: float = TIMEOUT) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


def post(url: str, body: bytes = b'{"instances": [[1, 2]]}', **headers: str) -> tuple[int, bytes]:
    """One request to a gateway, on a connection of its own."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=60)
    try:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("POST", "/invocations", body, {"content-type": "application/json", **given})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def url_of(state: State | None) -> str:
    assert state is not None
    return str(state.facts["url"])
