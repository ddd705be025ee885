"""Connecting costs nothing of Azure's libraries, and says at once what is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

import cloudml
from cloudml.errors import ConfigError, MissingExtra

WORKSPACE = {"subscription": "00000000-0000-0000-0000-000000000000", "resource_group": "g", "workspace": "w"}
LOADED = f"""
import sys
import cloudml
cloud = cloudml.connect("azureml", **{WORKSPACE!r})
def azure():
    return sorted(name for name in sys.modules if name.startswith("azure.") and name != "azure.storage")
assert azure() == [], azure()
cloud.session.provider.artifacts.uri("x")
assert "azure.identity" in azure()
"""


def test_azure_s_libraries_are_imported_at_the_first_use() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["azure.identity", "azure.storage.blob"])
def test_without_a_library_it_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra, match=f"provider 'azureml' needs {name}") as missing:
        cloudml.connect("azureml", **WORKSPACE)
    assert missing.value.hint == 'pip install "cloudml-sdk[azureml]"'


@pytest.mark.parametrize("setting", WORKSPACE)
def test_what_is_not_set_is_told_before_the_first_use(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("AZURE_SUBSCRIPTION_ID", *(f"CLOUDML_AZUREML_{name.upper()}" for name in WORKSPACE)):
        monkeypatch.delenv(variable, raising=False)
    rest = {name: value for name, value in WORKSPACE.items() if name != setting}
    with pytest.raises(ConfigError, match=f"needs the workspace's {setting.replace('_', ' ')}") as refused:
        cloudml.connect("azureml", **rest)
    assert f"CLOUDML_AZUREML_{setting.upper()}" in str(refused.value.hint)
