"""What specs accept, which of their fields make a thing another one, and what is refused in which words."""

from __future__ import annotations

from typing import Any

import pytest

from cloudml.errors import ConfigError
from cloudml.monitoring.checks import STATISTICS
from cloudml.specs import STATISTICS as NAMED
from cloudml.specs import (
    Deployment,
    Endpoint,
    Model,
    Monitor,
    Resources,
    Scale,
    Spec,
    TrainingJob,
    make,
    size,
    spec_hash,
)


@pytest.mark.parametrize(
    ("text", "count"),
    [("1T", 10**12), ("1TB", 10**12), ("2Ti", 2 << 40), ("1.5G", 1_500_000_000), ("512Mi", 512 << 20), ("7", 7)],
)
def test_sizes(text: str, count: int) -> None:
    assert size(text) == count
    assert Resources.model_validate({"memory": text}).memory == count


def test_what_an_endpoint_says_of_its_servers_holds_for_deployments_given_as_specs() -> None:
    blue = Deployment(model="fraud:1", env={"B": "2"}, resources=Resources(cpu=2), labels={"team": "risk"})
    endpoint = Endpoint.model_validate(
        {
            "deployments": {"blue": blue, "green": Deployment(model="fraud:2")},
            "traffic": {"blue": 50, "green": 50},
            "env": {"A": "1"},
            "resources": Resources(cpu=4),
            "scale": {"max": 3},
        }
    )
    assert endpoint.deployments["blue"] == blue.model_copy(update={"scale": Scale(max=3)})
    assert endpoint.deployments["green"] == Deployment(
        model="fraud:2", env={"A": "1"}, resources=Resources(cpu=4), scale=Scale(max=3)
    )
    as_maps = {name: each.model_dump(exclude_unset=True) for name, each in endpoint.deployments.items()}
    again = Endpoint.model_validate({"deployments": as_maps, "traffic": endpoint.traffic})
    assert spec_hash(again) == spec_hash(endpoint)


def test_a_description_is_of_the_version_and_an_alias_is_not() -> None:
    plain = Model(path="model")
    assert spec_hash(Model(path="model", description="of spring")) != spec_hash(plain)
    assert spec_hash(Model(path="model", alias="champion", approval="approved")) == spec_hash(plain)


def test_the_statistics_are_those_that_are_computed() -> None:
    assert set(NAMED) == set(STATISTICS)


@pytest.mark.parametrize(
    ("kind", "fields", "said"),
    [
        (Monitor, {"schedule": "hourly"}, "watch.schedule: 'hourly' is no cron line"),
        (Monitor, {"schedule": "0 * * *"}, "watch.schedule: '0 * * *' is no cron line"),
        (Monitor, {"drift": {"psy": 0.2}}, "watch.drift: unknown statistic 'psy'; did you mean 'psi'?"),
        (
            TrainingJob,
            {"command": "fit {inputs.trian}", "inputs": {"train": "x.csv"}},
            "watch: the command names {inputs.trian}, which is not one of the inputs; did you mean 'train'?",
        ),
        (TrainingJob, {"command": ["fit", "{params.lr}"]}, "{params.lr}, which is not one of the params; known: none"),
        (Endpoint, {"model": "fraud", "traffic": {"blue": 50}}, "watch: traffic sums to 50, not 100"),
    ],
)
def test_what_is_wrong_is_said_in_words(kind: type[Spec], fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        make(kind, "watch", fields)
    assert said in str(raised.value)


def test_a_field_that_there_is_not_is_no_matter_of_pydantic() -> None:
    with pytest.raises(ConfigError, match=r"^fraud\.comand: there is no such field") as raised:
        make(TrainingJob, "fraud", {"command": "true", "comand": "x"})
    assert raised.value.hint == "did you mean 'command'?"


def test_placeholders_of_the_runtime_are_left_alone() -> None:
    job = TrainingJob(command="fit {params.lr} {inputs.train} {model_dir} {x}", params={"lr": 1}, inputs={"train": "a"})
    assert "{model_dir}" in job.command
