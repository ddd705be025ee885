"""What the tests of the provider ``docker`` share: a client over a home, small models, and what is left of a home."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cloudml.client import Client, connect_plugin
from cloudml.engines import attached
from cloudml.engines.docker import label
from cloudml.runtime.manifest import write_manifest
from cloudml_local.docker import plugin

STACK, TIMEOUT = "tests-docker", 120.0


def connected(home: Path, base: str, **more: Any) -> Client:
    return connect_plugin(plugin, STACK, [], {"home": str(home), "base": base, **more})


def destroy(client: Client) -> None:
    """Everything of every stack in a home."""
    session = client.session
    for kind in (session.provider.endpoints, session.provider.models, session.provider.jobs):
        for state in list(kind.list(None)):
            session.pursue(session.absent(kind, state.key), TIMEOUT, adopt=True)
        assert not list(kind.list(None))


def left(engine: Any, home: Path) -> list[str]:
    """The names of a home's containers, without the home's mark."""
    found = []
    for place in ("jobs", "servers"):
        own = label((home / place).absolute())
        filters = {"label": f"{attached.ENGINE}={own}"}
        containers = engine.containers.list(all=True, filters=filters, ignore_removed=True)
        found += [each.name.removesuffix(f"-{own}") for each in containers]
    return sorted(found)


def python_model(folder: Path, answer: str, top: str = "") -> Path:
    """A model that answers the same to every row; ``top`` is run when it is loaded."""
    folder.mkdir()
    code = f"{top}\nclass Model:\n    def __init__(self, folder): pass\n"
    (folder / "model.py").write_text(f"{code}    def predict(self, rows): return [{answer} for row in rows]\n")
    write_manifest(folder)
    return folder
