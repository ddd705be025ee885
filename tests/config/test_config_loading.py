"""From a file to specs: environments, variables, precedence, paths."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cloudml.config import Project, load, load_profile
from cloudml.errors import ConfigError
from cloudml.specs import Endpoint, Model, TrainingJob

Write = Callable[..., Path]


def project(path: Path, *, environ: dict[str, str] | None = None, **given: object) -> Project:
    return load(path, environ=environ or {}, **given)  # type: ignore[arg-type]


def test_the_whole_example(write: Write, folder: Path) -> None:
    found = project(write())
    assert (found.name, found.env, found.provider, found.settings) == ("fraud", "dev", "local", {})
    assert found.root == folder
    assert found.jobs == {
        "train": TrainingJob.model_validate(
            {
                "source": str(folder / "src"),
                "command": "python train.py --lr 0.0003",
                "inputs": {"train": str(folder / "data/train.csv")},
                "resources": {"cpu": 2, "memory": 4 << 30},
            }
        )
    }
    assert found.models == {
        "fraud": Model.model_validate(
            {
                "from": "jobs.train",
                "sample_input": str(folder / "samples/one.json"),
                "baseline": {"data": str(folder / "data/train.csv"), "target": "is_fraud"},
                "gates": ["auc >= 0.90"],
                "alias": "champion",
            }
        )
    }
    monitor = {"drift": {"psi": 0.2}, "min_samples": 200}
    assert found.endpoints == {
        "fraud-api": Endpoint.model_validate({"model": "fraud@champion", "capture": 1, "monitor": monitor})
    }


def test_positions_lead_back_to_the_file(write: Write) -> None:
    found = project(write())
    assert found.where("jobs", "train", "resources", "memory").endswith("cloudml.yaml:9:25")
    assert found.where("jobs", "train", "nothing").endswith("cloudml.yaml:5:3")


@pytest.mark.parametrize(
    ("env", "provider", "environ", "expected"),
    [
        (None, None, {}, ("dev", "local")),
        ("prod", None, {}, ("prod", "local")),
        (None, None, {"CLOUDML_ENV": "prod"}, ("prod", "local")),
        ("dev", None, {"CLOUDML_ENV": "prod"}, ("dev", "local")),
        (None, "local", {}, ("local", "local")),
        (None, None, {"CLOUDML_PLATFORM": "local"}, ("local", "local")),
        ("far", "local", {}, ("far", "local")),
        ("mine", "local", {}, ("mine", "local")),
        (None, "local", {"CLOUDML_PLATFORM": "elsewhere"}, ("local", "local")),
    ],
)
def test_which_environment(
    write: Write, env: str | None, provider: str | None, environ: dict[str, str], expected: tuple[str, str]
) -> None:
    found = project(write(), env=env, provider=provider, environ=environ)
    assert (found.env, found.provider) == expected


def test_another_providers_settings_stay_out_and_its_overrides_hold(write: Write) -> None:
    path = write(("region: us-east-1", "region: us-east-1, jobs: {train: {nodes: 3}}"))
    found = project(path, env="far", provider="local")
    assert found.settings == {}
    assert found.jobs["train"].nodes == 3


def test_an_environment_overrides_variables_and_resources(write: Write) -> None:
    found = project(write(), env="prod")
    assert found.jobs["train"].command == "python train.py --lr 0.1"
    assert found.endpoints["fraud-api"].deployments["blue"].scale.max == 20
    assert found.endpoints["fraud-api"].capture == 1.0


def test_null_deletes_and_lists_replace(write: Write) -> None:
    over = "provider: local, models: {fraud: {gates: [], alias: null}}, endpoints: {fraud-api: null}"
    found = project(write(("dev:  {provider: local", "dev:  {" + over)))
    assert found.models["fraud"].gates == ()
    assert found.models["fraud"].alias is None
    assert found.endpoints == {}


def test_flags_go_before_variables_of_the_file(write: Write) -> None:
    found = project(write(), env="prod", vars={"lr": "1e-2"})
    assert found.jobs["train"].command == "python train.py --lr 0.01"


def test_placeholders(write: Write) -> None:
    params = (
        'params: {whole: "${vars.lr}", part: "lr=${vars.lr}", here: "${env:HERE}", not: "${env:GONE:-fallback}", '
        'empty: "${env:EMPTY:-fallback}", shell: "${HOME} ${X:-y} $HOME", plain: "$${vars.lr}", '
        '"on": yes}'
    )
    path = write(("    inputs:", f"    {params}\n    env: {{KEY: '${{secret:env:KEY}}'}}\n    inputs:"))
    job = project(path, environ={"HERE": "3", "EMPTY": ""}).jobs["train"]
    assert job.env == {"KEY": "${secret:env:KEY}"}
    assert job.params == {
        "whole": 3e-4,
        "part": "lr=0.0003",
        "here": "3",
        "not": "fallback",
        "empty": "fallback",
        "shell": "${HOME} ${X:-y} $HOME",
        "plain": "${vars.lr}",
        "on": "yes",
    }


def test_a_variable_may_be_a_map_and_may_use_others(write: Write) -> None:
    path = write(
        ("vars: {lr: 3e-4}", 'vars: {lr: "${vars.base}", base: "${env:LR:-0.5}", size: {cpu: 3}}'),
        ("resources: {cpu: 2, memory: 4Gi}", "resources: ${vars.size}"),
    )
    found = project(path)
    assert found.jobs["train"].resources.cpu == 3
    assert found.jobs["train"].command == "python train.py --lr 0.5"


def test_anchors_have_room_under_x_keys(write: Write) -> None:
    path = write(("resources: {cpu: 2, memory: 4Gi}", "resources: *small"), ("jobs:", "x-s: &small {cpu: 7}\njobs:"))
    assert project(path).jobs["train"].resources.cpu == 7


def test_addresses_and_versions_elsewhere_are_left_alone(write: Write) -> None:
    path = write(
        ("inputs: {train: data/train.csv}", "inputs: {train: 's3://bucket/x', more: 'azureml:data:1'}"),
        (
            "model: fraud@champion",
            "deployments: {blue: {model: 'fraud:3'}, red: {model: o@best}, own: {model: ./model}}",
        ),
        ("capture: 1.0", "traffic: {blue: 50, red: 50}"),
    )
    found = project(path)
    assert found.jobs["train"].inputs == {"train": "s3://bucket/x", "more": "azureml:data:1"}
    models = {name: each.model for name, each in found.endpoints["fraud-api"].deployments.items()}
    assert models == {"blue": "fraud:3", "red": "o@best", "own": str(path.parent / "model")}


def test_paths_in_settings_are_relative_to_the_file(write: Write, folder: Path) -> None:
    found = project(write(("dev:  {provider: local", "dev:  {provider: local, home: .state")))
    assert found.settings == {"home": str(folder / ".state")}


def test_a_file_without_environments_runs_on_this_machine(write: Write) -> None:
    found = project(write(text="version: 1\n"))
    assert (found.name, found.env, found.provider, found.jobs) == ("default", "local", "local", {})


# -- profiles --------------------------------------------------------------------------------------------------------


def profile(tmp_path: Path, text: str) -> dict[str, str]:
    file = tmp_path / "config" / "cloudml" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    return {"XDG_CONFIG_HOME": str(tmp_path / "config")}


PROFILES = """
default_profile = "mine"
[profiles.mine]
provider = "local"
host = "127.0.0.2"
[profiles.work]
provider = "local"
host = "127.0.0.3"
"""


def test_a_profile_fills_in_what_nothing_else_says(write: Write, tmp_path: Path) -> None:
    environ = profile(tmp_path, PROFILES)
    assert project(write(text="version: 1\n"), environ=environ).settings == {"host": "127.0.0.2"}
    assert project(write(text="version: 1\n"), provider="work", environ=environ).settings == {"host": "127.0.0.3"}
    environ |= {"CLOUDML_PROFILE": "work"}
    assert project(write(text="version: 1\n"), environ=environ).settings == {"host": "127.0.0.3"}
    file = write(("dev:  {provider: local", "dev:  {provider: local, host: 127.0.0.4"))
    assert project(file, environ=environ).settings == {"host": "127.0.0.4"}


def test_profiles_that_are_not_right_say_so(tmp_path: Path) -> None:
    environ = profile(tmp_path, PROFILES + "[profiles.empty]\n")
    assert load_profile(environ={"XDG_CONFIG_HOME": str(tmp_path / "nowhere")}) is None
    with pytest.raises(ConfigError, match="no profile 'wrk'") as caught:
        load_profile("wrk", environ)
    assert caught.value.hint == "did you mean 'work'?"
    with pytest.raises(ConfigError, match="names no provider"):
        load_profile("empty", environ)
    (tmp_path / "config/cloudml/config.toml").write_text("x = [")
    with pytest.raises(ConfigError, match=r"config\.toml: cannot read it"):
        load_profile("mine", environ)
