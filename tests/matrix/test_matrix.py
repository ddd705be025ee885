"""One project file, five providers; one test, three emulated clouds, all in one emulation."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import cloudml as cm
from cloudml import config, plan
from cloudml.emulation.running import Running
from cloudml.specs import document
from cloudml.spi import Effect

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart"
PROVIDERS = ("local", "docker", "sagemaker", "azureml", "vertex")
OF_ONE_PROVIDER = {"options", "patch", *PROVIDERS}  # keys of a file that say something to one provider only


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> config.Project:
    """The quickstart as it is, with less data: nothing is trained with it here."""
    folder = tmp_path_factory.mktemp("matrix") / "quickstart"
    shutil.copytree(QUICKSTART, folder, ignore=shutil.ignore_patterns("data", "__pycache__"))
    (folder / "data").mkdir()
    (folder / "data" / "train.csv").write_text("mean_radius,malignant\n" + "14.1,0\n20.6,1\n" * 40)
    (folder / "data" / "sample.json").write_text("[[14.1]]")
    return config.load(folder / "cloudml.yaml", environ={})


def keys(node: Any) -> Iterator[str]:
    """Every key of a document, at any depth."""
    for name, value in node.items() if isinstance(node, dict) else ():
        yield name
        yield from keys(value)


def test_the_file_says_nothing_to_one_provider_only(project: config.Project) -> None:
    found = set(keys(yaml.safe_load((QUICKSTART / "cloudml.yaml").read_text())))
    assert "endpoints" in found
    assert not found & OF_ONE_PROVIDER
    assert project.settings == {}


@pytest.fixture(scope="module")
def planned(
    project: config.Project, emulation: Running, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, plan.Plan]:
    """What each provider would do for the same object, in an account that has nothing yet."""
    with pytest.MonkeyPatch.context() as variables:
        variables.setenv("CLOUDML_HOME", str(tmp_path_factory.mktemp("home")))
        clients = {name: cm.connect(name, project="tumors", env="plan") for name in PROVIDERS}
        return {name: plan.plan(client, project) for name, client in clients.items()}


def specs(found: plan.Plan) -> str:
    """What a plan is made of: the resources by name and their specs, as they are hashed and given to a provider."""
    said = {str(step.key): document(step.spec) for step in found.steps if step.spec}
    return json.dumps(said, indent=1, sort_keys=True)


def test_five_providers_plan_the_same_spec(planned: dict[str, plan.Plan]) -> None:
    reference = specs(planned["local"])
    assert '"endpoint tumor-api"' in reference
    assert {name: specs(found) == reference for name, found in planned.items()} == dict.fromkeys(PROVIDERS, True)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_each_plans_native_calls_for_each_kind(planned: dict[str, plan.Plan], provider: str) -> None:
    steps = [step for step in planned[provider].steps if step.calls]
    assert {"artifact", "job", "model", "endpoint"} <= {step.key.kind for step in steps}
    assert not [call for step in steps for call in step.calls if call.effect is Effect.DELETE]


def test_the_fixture_runs_on_three_clouds(emulation: Running) -> None:
    assert set(emulation.clouds) == {"sagemaker", "azureml", "vertex"}
