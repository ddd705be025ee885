"""Whose, which, what, and what it was before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cloudml.labels import label, present
from cloudml.specs import Endpoint, Model, Spec, TrainingJob, spec_hash
from cloudml.states import Key, Phase, State

KEY = Key("endpoint", "fraud-api", "shop")
WANT, OTHER = Endpoint(model="fraud:1a2b3c4d"), Endpoint(model="fraud:5e6f7a8b")


def labels(key: Key, want: Spec, have: State | None = None) -> Mapping[str, str]:
    return present(key, want, have).labels


HAVE = State(KEY, Phase.READY, "shop", spec_hash(WANT), labels=labels(KEY, WANT))


def test_all_that_a_new_endpoint_carries() -> None:
    assert HAVE.labels == {
        "cloudml-stack": "shop",
        "cloudml-kind": "endpoint",
        "cloudml-name": "fraud-api",
        "cloudml-id": "fraud-api",
        "cloudml-hash": label(WANT),
    }
    assert label(WANT).startswith(spec_hash(WANT) + "-")


def test_what_it_was_before_is_remembered_and_not_forgotten_by_the_same_again() -> None:
    assert "cloudml-prev" not in labels(KEY, WANT, HAVE)
    changed = labels(KEY, OTHER, HAVE)
    assert changed["cloudml-prev"] == label(WANT)
    again = replace(HAVE, labels=changed)
    assert labels(KEY, OTHER, again)["cloudml-prev"] == label(WANT)
    assert labels(KEY, WANT, again)["cloudml-prev"] == label(OTHER)


def test_traffic_alone_is_a_change_to_go_back_from() -> None:
    pair = {"deployments": {"blue": {"model": "fraud:1"}, "green": {"model": "fraud:2"}}}
    most = Endpoint.model_validate(pair | {"traffic": {"blue": 90, "green": 10}})
    half = Endpoint.model_validate(pair | {"traffic": {"blue": 50, "green": 50}})
    assert spec_hash(most) == spec_hash(half)
    assert labels(KEY, half, replace(HAVE, labels=labels(KEY, most)))["cloudml-prev"] == label(most)


def test_only_endpoints_have_a_before() -> None:
    assert "cloudml-prev" not in labels(Key("model", "fraud", "shop"), Model(path="sha256:00"), HAVE)
    run = labels(Key("job", "fraud-train-1a2b3c4d-2", "shop"), TrainingJob(command="true"))
    assert (run["cloudml-name"], run["cloudml-id"]) == ("fraud-train", "fraud-train-1a2b3c4d-2")
