"""What the plugin declares, and that looking at it costs nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from local_things import connected

from cloudml.errors import ConfigError
from cloudml.spi import Capability, No
from cloudml_local.home import default
from cloudml_local.plugin import plugin

HEAVY = ("sqlite3", "asyncio", "subprocess", "http.server", "cloudml.engines", "uvloop", "httptools")


def test_every_capability_is_answered_and_every_no_says_what_to_do() -> None:
    assert set(plugin.capabilities) == set(Capability)
    for answer in plugin.capabilities.values():
        assert not isinstance(answer, No) or len(answer.reason) > 20


def test_the_plugin_loads_nothing_that_only_a_connection_needs() -> None:
    code = "import json, sys; import cloudml_local.plugin; print(json.dumps(sorted(sys.modules)))"
    import os

    roots = os.pathsep.join(dict.fromkeys(path for path in sys.path if path))
    made = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env={**os.environ, "PYTHONPATH": roots}
    )
    assert not set(HEAVY) & set(json.loads(made.stdout))


def test_home_is_found_as_the_system_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default({}) == tmp_path / ".local/share/cloudml"
    assert default({"XDG_DATA_HOME": "/data"}) == Path("/data/cloudml")
    assert default({"XDG_DATA_HOME": "/data", "CLOUDML_HOME": "/here"}) == Path("/here")


def test_a_connection_writes_nothing(home: Path) -> None:
    client = connected(home)
    assert client.jobs.list() == []
    assert [*client.session.provider.models.list(None), *client.session.provider.endpoints.list(None)] == []
    assert not home.exists()


def test_an_unknown_setting_is_refused(home: Path) -> None:
    from cloudml.client import connect_plugin

    with pytest.raises(ConfigError, match="regoin"):
        connect_plugin(plugin, "tests", settings={"regoin": "x", "home": str(home)})
