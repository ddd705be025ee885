"""What specs accept, and which of their fields make a thing another one."""

from __future__ import annotations

import pytest

from cloudml.specs import Deployment, Endpoint, Model, Resources, Scale, size, spec_hash


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
