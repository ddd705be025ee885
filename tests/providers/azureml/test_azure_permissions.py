"""The role of a stack: what it allows, that it is enough, and what somebody is told whose role is not."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path

import pytest
from azure_account import Emulated
from click.testing import CliRunner

import cloudml
from cloudml.cli import main
from cloudml.client import Client
from cloudml.emulation.faults import Fault, Trouble
from cloudml.errors import Denied
from cloudml.spi import Scope, Window
from cloudml.testing import emulated as emulation
from cloudml.testing.conformance import python_model
from cloudml_azureml.permissions import ALWAYS, CALLS, role
from cloudml_azureml.plugin import Config

W = "Microsoft.MachineLearningServices/workspaces"
SUBSCRIPTION = "1b2c3d4e-0000-0000-0000-000000000000"
PROJECT = f"""
version: 1
project: shop
jobs: {{train: {{command: "true"}}}}
environments: {{azure: {{provider: azureml, subscription: {SUBSCRIPTION}, resource_group: ml, workspace: shop}}}}
"""
VERBS = {"GET": "read", "PUT": "write", "DELETE": "delete", "POST": "action"}
ARM = re.compile(r"(\w+) https://management.azure.com/subscriptions/([^/]+)/(\S+) (\d+|lost)")
OTHERS = {"GET operation", "GET result", "GET history"}  # not below the workspace


def needed(calls: list[str], subscription: str) -> set[str]:
    """The actions that some requests asked for, by the rule of the resource manager: kinds of resources and a verb."""
    found = set()
    for method, whose, path, _ in (match.groups() for call in calls if (match := ARM.match(call))):
        if whose == subscription and f"providers/{W}/" in path:
            own, _, other = path.partition(f"providers/{W}/")[2].partition("/providers/")
            kinds = [other] if other else [W, *own.split("/")[1::2]]
            found.add("/".join([*kinds, VERBS[method]]).lower())
    return found


def whole_story(client: Client, folder: Path) -> None:
    """A run, its log, a cancelled one, models, an endpoint with a schedule, a prediction, logs; all removed."""
    train = ("python", "-c", "open('{model_dir}/model.py', 'w').write('class Model: pass'); print('trained')")
    job = client.train("train", command=train, wait=True)
    assert "trained" in [*job.logs()]
    slow = client.train("slow", command="sleep 60", wait=False)
    slow.cancel()
    data = folder / "data.csv"
    data.write_text("x\n" + "1\n2\n" * 10)
    for name, answer in (("one", "1"), ("two", "2")):
        baseline = {"baseline": str(data), "alias": name}
        client.models.register("fraud", str(python_model(folder / name, answer)), **baseline)
    endpoint = client.deploy("fraud-api", "fraud@one", capture=1.0, monitor={"schedule": "0 * * * *"})
    assert endpoint.predict([[1.0]]) == [1]
    assert [*endpoint.logs()]
    assert [*client.session.provider.telemetry.metrics(endpoint.state, Window())]
    endpoint.deploy("fraud@two")
    endpoint.delete()
    client.models.delete("fraud")
    for each in (job, slow):
        each.delete()


def test_the_role_is_enough_and_has_nothing_that_is_not_used(emulated: Emulated, tmp_path: Path) -> None:
    subscription = str(uuid.uuid4())
    names = {"job": ["train"], "model": ["fraud"], "endpoint": ["fraud-api"]}
    with emulation.environment({**emulated.up.environment, "CLOUDML_AZUREML_SUBSCRIPTION": subscription}):
        client = cloudml.connect("azureml", project="shop", env="test")
        emulated.azure._calls.clear()
        whole_story(client, tmp_path)
        allowed = {action.lower() for action in role(Config(), Scope("shop-test", names))["Actions"]}
    calls = list(emulated.azure._calls)
    assert len(calls) < 500, "the log has lost its beginning"
    used = needed(calls, subscription)
    assert used - allowed == set(), "the role is not enough"
    elsewhere = {
        action.lower() for each in (ALWAYS, *CALLS.values()) for name, action in each.items() if name in OTHERS
    }
    by_version = {f"{W}/models/versions/delete".lower()}  # 'cloudml models delete FAMILY:N'
    assert allowed - used == elsewhere | by_version, "the role has what nothing uses"


def test_what_a_file_does_not_have_needs_no_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CLOUDML_AZUREML_SUBSCRIPTION", "AZURE_SUBSCRIPTION_ID", "CLOUDML_AZUREML_RESOURCE_GROUP"):
        monkeypatch.delenv(name, raising=False)
    found = role(Config(), Scope("shop-azure", {"model": ["fraud"], "job": []}))
    kinds = {action.removeprefix(f"{W}/").partition("/")[0] for action in found["Actions"] if action.startswith(W)}
    assert kinds == {"read", "datastores", "models"}
    assert found["AssignableScopes"] == ["/subscriptions/SUBSCRIPTION/resourceGroups/RESOURCE_GROUP"]


def test_the_command_prints_it_and_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cloudml.yaml").write_text(PROJECT)
    answer = CliRunner().invoke(main, ["permissions", "-e", "azure"])
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.output)
    fields = {"Name", "IsCustom", "Description", "Actions", "NotActions", "DataActions", "NotDataActions"}
    assert found.keys() == fields | {"AssignableScopes"}, "az refuses any other field"
    assert found["Name"] == "cloudml shop-azure"
    assert f"{W}/jobs/write" in found["Actions"]
    assert f"{W}/onlineEndpoints/write" not in found["Actions"]
    assert found["AssignableScopes"] == [f"/subscriptions/{SUBSCRIPTION}/resourceGroups/ml"]


@pytest.mark.parametrize(
    ("operation", "action", "built_in"),
    [
        ("PUT models", f"{W}/models/write", "AzureML Data Scientist"),
        ("POST datastores/listSecrets", f"{W}/datastores/listSecrets/action", "AzureML Data Scientist"),
        ("GET models", f"{W}/models/read", "Reader"),
    ],
)
def test_what_permission_is_missing_is_named(
    emulated: Emulated, tmp_path: Path, operation: str, action: str, built_in: str
) -> None:
    with emulation.environment({**emulated.up.environment, "CLOUDML_AZUREML_SUBSCRIPTION": str(uuid.uuid4())}):
        client = cloudml.connect("azureml", project="shop", env="test")
        emulated.faults.add(Fault(Trouble.DENY, operation))
        with pytest.raises(Denied) as denied:
            client.models.register("fraud", str(python_model(tmp_path / "one", "1")))
    assert f"{action} is missing: the role '{built_in}'" in str(denied.value.hint)
    assert "AuthorizationFailed" in str(denied.value)
    assert not list(emulated.faults)
