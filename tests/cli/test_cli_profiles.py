"""Profiles and settings: which go before which, from Python and from the command line; what is known is listed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_shell import Shell
from click.testing import CliRunner
from pydantic import BaseModel, ConfigDict

import cloudml as cm
from cloudml import plugins
from cloudml.cli import main
from cloudml.errors import ConfigError
from cloudml.testing.world import World

PROFILES = """
[profiles.work]
provider = "nested"
project = "acme-ml"
location = "here"
[profiles.nested]
provider = "nested"
location = "nowhere: a provider has this name"
"""


class Settings(BaseModel):
    """As of a cloud whose own setting is called ``project``."""

    model_config = ConfigDict(extra="forbid")
    project: str = "none"
    location: str = "default"
    env: str = ""


@pytest.fixture
def given(
    install: Callable[[str], World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[cm.Client], dict[str, str]]:
    """Installs that cloud, with profiles; returns what a client of it was connected with."""
    install("nested")
    plugin, seen = plugins.load("nested"), []

    def connect(settings: Settings, caller: object) -> object:
        seen.append(settings)
        return plugin.connect(plugin.config(), caller)  # type: ignore[arg-type]

    from dataclasses import replace

    changed = replace(plugin, config=Settings, connect=connect)  # type: ignore[arg-type]
    monkeypatch.setattr("cloud_of_this_test.plugin", changed)
    file = tmp_path / "config" / "cloudml" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(PROFILES)
    monkeypatch.chdir(tmp_path)
    return lambda _: seen[-1].model_dump(exclude_defaults=True)


Given = Callable[[object], dict[str, str]]


def test_a_profile_is_connected_by_its_name(given: Given) -> None:
    client = cm.connect("work")
    assert (client.provider, client.stack) == ("nested", "default-nested")
    assert given(client) == {"project": "acme-ml", "location": "here"}


def test_what_goes_before_what(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    assert given(cm.connect("nested")) == {}, "no profile is asked for, and none is the default"
    monkeypatch.setenv("CLOUDML_PROFILE", "work")
    assert given(cm.connect()) == {"project": "acme-ml", "location": "here"}
    assert given(cm.connect("nested")) == {"project": "acme-ml", "location": "here"}, "it is for that provider"
    assert given(cm.connect(settings={"location": "there"})) == {"project": "acme-ml", "location": "there"}
    assert given(cm.connect(settings={"location": "there"}, location="by keyword"))["location"] == "by keyword"
    monkeypatch.setenv("CLOUDML_PLATFORM", "local")
    assert cm.connect(home="elsewhere").provider == "local"
    monkeypatch.setenv("CLOUDML_PLATFORM", "work")
    assert cm.connect().provider == "nested"


def test_a_setting_may_have_a_name_that_is_taken(given: Given) -> None:
    client = cm.connect("nested", project="fraud", env="prod", settings={"project": "acme-ml", "env": "theirs"})
    assert client.stack == "fraud-prod"
    assert given(client) == {"project": "acme-ml", "env": "theirs"}


def test_what_is_not_known_is_answered_with_what_is(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="there is no provider 'wrk', and no profile") as caught:
        cm.connect("wrk")
    assert caught.value.hint == "did you mean 'work'?"
    with pytest.raises(ConfigError) as caught:
        cm.connect("zzz")
    assert re.fullmatch(r"providers: .*nested.*; profiles: work, nested", str(caught.value.hint))
    monkeypatch.setenv("CLOUDML_PROFILE", "gone")
    with pytest.raises(ConfigError, match="there is no profile 'gone'"):
        cm.connect()
    monkeypatch.delenv("CLOUDML_PROFILE")
    result = CliRunner().invoke(main, ["status", "-p", "zzz"])
    assert (result.exit_code, "profiles: work, nested" in result.stderr) == (3, True)


def test_the_command_line_takes_profiles_too(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    assert CliRunner().invoke(main, ["status", "-p", "work"]).exit_code == 0
    assert given(None) == {"project": "acme-ml", "location": "here"}
    assert CliRunner().invoke(main, ["status", "-p", "nested"]).exit_code == 0
    assert given(None) == {}, "a provider's name goes before a profile's"
    monkeypatch.setenv("CLOUDML_PROFILE", "work")
    assert CliRunner().invoke(main, ["status"]).exit_code == 0
    assert given(None) == {"project": "acme-ml", "location": "here"}


def test_a_file_goes_before_a_profile(given: Given, one_shell_file: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDML_PROFILE", "work")
    one_shell_file.ok("status")
    assert given(None) == {"project": "acme-ml", "location": "the file's"}


@pytest.fixture
def one_shell_file(tmp_path: Path) -> Shell:
    (tmp_path / "cloudml.yaml").write_text(
        'version: 1\nenvironments: {dev: {provider: nested, location: "the file\'s"}}\n'
    )
    return Shell(tmp_path, World(), "nested", World().clock)
