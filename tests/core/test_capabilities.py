"""What is asked for against what is declared."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cloudml.capabilities import NEEDS, missing, require
from cloudml.errors import Unsupported
from cloudml.specs import Endpoint, Model, Monitor, TrainingJob
from cloudml.spi import Capability, No, Yes
from cloudml.testing.clouds import CLOUDS
from cloudml.testing.world import World


def test_every_reason_is_told_at_once() -> None:
    plugin = CLOUDS["nested"](World())
    job = TrainingJob.model_validate({"command": "true", "nodes": 4, "spot": True, "resources": {"gpu": 8}})
    with pytest.raises(Unsupported, match=r"resources.gpu: .*; nodes: .*; spot: ") as raised:
        require(plugin, "job fraud", job)
    assert raised.value.exit_code == 8
    assert "job fraud" in str(raised.value)


def test_what_is_not_asked_for_is_no_matter() -> None:
    plugin = CLOUDS["nested"](World())
    for spec in (
        TrainingJob(command="true"),
        Endpoint(model="fraud:1"),
        Model(path="sha256:0"),
        Monitor(endpoint="api"),
    ):
        require(plugin, "fraud", spec)
        assert list(missing(plugin, spec)) == []


def test_a_monitor_inside_an_endpoint_counts() -> None:
    spec = Endpoint(model="fraud:1", monitor=Monitor(schedule="0 * * * *"))
    require(CLOUDS["named"](World()), "fraud-api", spec)
    with pytest.raises(Unsupported, match=r"monitor.schedule: .*cron"):
        require(CLOUDS["operations"](World()), "fraud-api", spec)


def test_every_capability_but_those_of_requests_and_verbs_is_needed_by_some_spec() -> None:
    needed = {need.capability for needs in NEEDS.values() for need in needs}
    asked = {Capability.ENDPOINTS_PIN, Capability.MODELS_ARCHIVE, Capability.MODELS_DELETE_VERSION}
    assert set(Capability) - needed == asked
    assert isinstance(CLOUDS["named"](World()).capabilities[Capability.ENDPOINTS_PIN], Yes)
    assert all(answer.reason for answer in CLOUDS["named"](World()).capabilities.values() if isinstance(answer, No))


def test_what_a_provider_does_not_say_it_does_not_do() -> None:
    plugin = CLOUDS["named"](World())
    silent = {each: answer for each, answer in plugin.capabilities.items() if each is not Capability.JOBS}
    with pytest.raises(Unsupported, match="does not say"):
        require(replace(plugin, capabilities=silent), "job fit", TrainingJob(command="true"))
