"""What goes wrong in AWS, and what a user hears of it: on an emulated AWS, with real processes."""

from __future__ import annotations

import contextlib
import io
import tarfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import boto3
import pytest
from sagemaker_things import python_model

from cloudml.client import Client
from cloudml.emulation.faults import Fault, Faults, Trouble
from cloudml.errors import ConfigError, Denied, Invalid, NotFound, QuotaExceeded, RolledBack, RunFailed
from cloudml.spi import Window
from cloudml.states import Phase
from cloudml_sagemaker.plugin import Config

Connected = Callable[..., Client]
BREAKS = "raise RuntimeError('it does not load')"
RESUMED = """
import os, pathlib, time
place = pathlib.Path(os.environ['CLOUDML_CHECKPOINT_DIR'], 'step')
if not place.exists():
    place.write_text('7')
    time.sleep(60)
pathlib.Path(os.environ['CLOUDML_MODEL_DIR'], 'model.py').write_text('class Model: pass')
print('#cloudml.metric name=step value=' + place.read_text())
"""


class TestEndpoints:
    def test_an_update_that_is_rolled_back_in_silence_is_an_error_with_the_server_s_own_words(
        self, connected: Connected, tmp_path: Path
    ) -> None:
        client = connected()
        client.models.register("fraud", str(python_model(tmp_path / "one", "1")))
        endpoint = client.deploy("fraud-api", "fraud", wait=True)
        client.models.register("fraud", str(python_model(tmp_path / "two", "2", BREAKS)))
        with pytest.raises(RolledBack, match="it does not load") as rolled:
            client.deploy("fraud-api", "fraud", wait=True)
        assert rolled.value.exit_code == 7
        assert endpoint.predict([[1, 2]]) == [1]

    def test_one_that_never_answers_is_an_error_with_the_reason_and_the_last_lines(
        self, connected: Connected, tmp_path: Path
    ) -> None:
        client = connected()
        client.models.register("fraud", str(python_model(tmp_path / "one", "1", BREAKS)))
        with pytest.raises(RunFailed, match=r"(?s)ping health check.*it does not load"):
            client.deploy("fraud-api", "fraud", wait=True)

    def test_an_archive_with_a_path_that_leaves_it(self, connected: Connected) -> None:
        client = connected()
        body = io.BytesIO()
        with tarfile.open(fileobj=body, mode="w:gz") as archive:
            archive.addfile(tarfile.TarInfo("../../escaped"), io.BytesIO())
        uri = client.session.provider.artifacts.put("evil/model.tar.gz", body.getvalue())
        client.models.register("fraud", uri)
        with pytest.raises(RunFailed, match="Failed to extract"):
            client.deploy("fraud-api", "fraud", wait=True)

    def test_a_count_of_instances_moves_in_place(self, connected: Connected, tmp_path: Path) -> None:
        client = connected()
        client.models.register("fraud", str(python_model(tmp_path / "one", "1")))
        endpoint = client.deploy("fraud-api", "fraud")
        client.deploy("fraud-api", "fraud", scale={"min": 2, "max": 2})
        assert endpoint.state.facts["counts"] == {"blue": 2}
        assert endpoint.predict([[1, 2]]) == [1]

    def test_calls_bring_instances_that_are_no_difference_and_a_fixed_count_takes_them_away(
        self, connected: Connected, own: Config, tmp_path: Path
    ) -> None:
        client = connected()
        client.models.register("fraud", str(python_model(tmp_path / "one", "1")))
        scale: dict[str, object] = {"max": 2, "metric": "requests", "target": 1}
        endpoint, deadline = client.deploy("fraud-api", "fraud", scale=scale), time.monotonic() + 60
        while endpoint.state.facts["counts"] != {"blue": 2}:
            assert time.monotonic() < deadline, "no second instance came"
            assert endpoint.predict([[1, 2]]) == [1]
        before = endpoint.state.id, dict(endpoint.state.facts["counts"])
        client.deploy("fraud-api", "fraud", scale=scale)
        assert (endpoint.state.id, dict(endpoint.state.facts["counts"])) == before
        client.deploy("fraud-api", "fraud", scale=scale, resources={"cpu": 4})
        assert endpoint.state.facts["types"] == {"blue": "ml.m5.xlarge"}, (
            "an update that AWS refuses while it is scaled"
        )
        client.deploy("fraud-api", "fraud")
        assert endpoint.state.facts["counts"] == {"blue": 1}
        client.deploy("fraud-api", "fraud", scale=scale)
        endpoint.delete()
        session = boto3.Session(profile_name=own.profile, region_name=own.region)
        with contextlib.closing(session.client("application-autoscaling")) as scaling:
            assert scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"] == []
            assert scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"] == []

    def test_a_shadow_that_fails_or_takes_its_time_harms_nobody(self, connected: Connected, tmp_path: Path) -> None:
        client, late = connected(), "import os, time"
        client.models.register("fraud", str(python_model(tmp_path / "one", "1")))
        client.models.register("fraud", str(python_model(tmp_path / "two", "time.sleep(3) or os._exit(1)", late)))
        deployments = {"blue": {"model": "fraud:1"}, "green": {"model": "fraud:2"}}
        asked = {"deployments": deployments, "traffic": {"blue": 100}, "mirror": {"green": 100}, "capture": 1.0}
        endpoint = client.deploy("fraud-api", **asked, wait=True)
        began = time.monotonic()
        assert [endpoint.predict([[1, 2]]) for _ in range(5)] == [[1]] * 5
        assert time.monotonic() - began < 3, "nobody waits for a shadow"
        with pytest.raises(NotFound, match="Variant green not found"):
            endpoint.predict([[1, 2]], deployment="green")

    def test_what_a_shadow_answers_is_no_part_of_what_a_monitor_counts(
        self, connected: Connected, tmp_path: Path
    ) -> None:
        client, data = connected(), tmp_path / "data.csv"
        data.write_text("x,y\n" + "".join(f"{number},{number % 2}\n" for number in range(60)))
        baseline = {"data": str(data), "target": "y"}
        for version, answer in (("one", "1"), ("two", "2")):
            model = python_model(tmp_path / version, answer)
            client.models.register("fraud", str(model), sample_input=[[1.0]], baseline=baseline)
        deployments = {"blue": {"model": "fraud:1"}, "green": {"model": "fraud:2"}}
        asked = {"deployments": deployments, "traffic": {"blue": 100}, "mirror": {"green": 100}, "capture": 1.0}
        endpoint = client.deploy("fraud-api", **asked, monitor={"min_samples": 2}, wait=True)
        for number in range(4):
            endpoint.predict([[float(number)]])
        telemetry, deadline = client.session.provider.telemetry, time.monotonic() + 60
        while (kept := Counter(each.deployment for each in telemetry.captured(endpoint.state, Window()))).total() < 8:
            assert time.monotonic() < deadline, kept
            time.sleep(0.1)
        assert kept == {"blue": 4, "green": 4}
        assert client.monitors.get("fraud-api").run().samples == 4

    def test_a_request_in_the_second_in_which_a_window_begins_is_in_it(
        self, connected: Connected, tmp_path: Path
    ) -> None:
        """SageMaker's records say whole seconds, and CreationTime milliseconds: nothing of the first second is lost."""
        client = connected()
        client.models.register("fraud", str(python_model(tmp_path / "one", "1")))
        endpoint = client.deploy("fraud-api", "fraud", capture=1.0)
        endpoint.predict([[1.0]])
        telemetry, deadline = client.session.provider.telemetry, time.monotonic() + 60
        while not (kept := list(telemetry.captured(endpoint.state, Window()))):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        second = datetime.fromisoformat(kept[0].time).timestamp()
        counts = [
            len(list(telemetry.captured(endpoint.state, Window(start=second + late)))) for late in (0.0, 0.9, 1.0)
        ]
        assert counts == [1, 1, 0]

    def test_no_machine_of_that_kind(self, connected: Connected, faults: Faults, tmp_path: Path) -> None:
        client = connected()
        client.models.register("fraud", str(python_model(tmp_path / "one", "1")))
        faults.add(Fault(Trouble.CAPACITY, "CreateEndpoint"))
        with pytest.raises(RunFailed, match="InsufficientInstanceCapacity"):
            client.deploy("fraud-api", "fraud", wait=True)


class TestJobs:
    def test_a_role_that_cannot_be_assumed(self, connected: Connected, own: Config) -> None:
        client = connected(role=str(own.role).rpartition("/")[0] + "/somebody-else")
        with pytest.raises(Denied, match="Could not assume role") as refused:
            client.train("fraud", command="true")
        assert "trust sagemaker.amazonaws.com" in str(refused.value.hint)

    def test_a_quota_of_zero(self, connected: Connected, faults: Faults) -> None:
        faults.add(Fault(Trouble.QUOTA, "CreateTrainingJob"))
        with pytest.raises(QuotaExceeded, match="0 Instances") as refused:
            connected().train("fraud", command="true")
        assert "Service Quotas" in str(refused.value.hint)

    def test_no_machine_of_that_kind(self, connected: Connected, faults: Faults) -> None:
        faults.add(Fault(Trouble.CAPACITY, "CreateTrainingJob"))
        with pytest.raises(RunFailed, match="CapacityError"):
            connected().train("fraud", command="true", wait=True)

    def test_an_instance_type_that_does_not_exist(self, connected: Connected) -> None:
        options = {"sagemaker": {"instance_type": "ml.huge.large"}}
        with pytest.raises(Invalid, match=r"ml\.huge\.large"):
            connected().train("fraud", command="true", options=options)

    def test_a_spot_machine_that_is_taken_away_goes_on_from_its_checkpoint(
        self, connected: Connected, faults: Faults, tmp_path: Path
    ) -> None:
        (tmp_path / "train.py").write_text(RESUMED)
        client = connected()
        job = client.train("fraud", source=str(tmp_path), command="python train.py", spot=True, timeout="5m")
        checkpoint, deadline = f"shop-test/runs/{job.id}/checkpoints/step", time.monotonic() + 60
        while client.session.provider.artifacts.missing([checkpoint]):
            assert time.monotonic() < deadline, "no checkpoint was stored"
            time.sleep(0.05)
        faults.add(Fault(Trouble.PREEMPT, "CreateTrainingJob"))
        job.wait(120)
        assert job.state.phase is Phase.SUCCEEDED
        assert job.metrics == {"step": 7.0}

    def test_each_of_several_nodes_knows_its_rank(self, connected: Connected) -> None:
        line = "echo node {node_rank} of {num_nodes} at $CLOUDML_MASTER_ADDR"
        job = connected().train("fraud", command=line, nodes=2, wait=True)
        assert {str(each) for each in job.logs()} == {"node 0 of 2 at algo-1", "node 1 of 2 at algo-1"}

    def test_a_job_that_takes_too_long(self, connected: Connected) -> None:
        job = connected().train("fraud", command="sleep 60", timeout=1)
        with pytest.raises(RunFailed, match="MaxRuntimeExceeded"):
            job.wait(120)
        assert job.state.phase is Phase.TIMED_OUT


class TestTheBucket:
    def test_one_that_is_not_there(self, connected: Connected) -> None:
        client = connected(bucket="nobody-s-bucket")
        with pytest.raises(Invalid, match="no bucket nobody-s-bucket") as refused:
            client.train("fraud", command="true")
        assert "aws s3 mb s3://nobody-s-bucket --region us-east-1" in str(refused.value.hint)

    def test_one_in_another_region(self, connected: Connected, own: Config) -> None:
        session, name = boto3.Session(profile_name=own.profile), f"elsewhere-{own.bucket}"
        with contextlib.closing(session.client("s3", region_name="eu-west-1")) as s3:
            s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        with pytest.raises(Invalid, match="is in eu-west-1, and this is us-east-1"):
            connected(bucket=name).train("fraud", command="true")


class TestWhoWeAre:
    def test_the_role_that_this_code_runs_with_is_taken(
        self, connected: Connected, own: Config, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with contextlib.closing(boto3.Session(profile_name=own.profile).client("sts", region_name=own.region)) as sts:
            given = sts.assume_role(RoleArn=own.role, RoleSessionName="notebook")["Credentials"]
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", given["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", given["SecretAccessKey"])
        monkeypatch.setenv("AWS_SESSION_TOKEN", given["SessionToken"])
        job = connected(profile=None, role=None).train("fraud", command="true", wait=True)
        assert job.state.native["RoleArn"] == own.role

    def test_a_person_is_no_role(self, connected: Connected) -> None:
        with pytest.raises(ConfigError, match="no execution role") as refused:
            connected(role=None).train("fraud", command="true")
        assert "CLOUDML_SAGEMAKER_ROLE" in str(refused.value.hint)

    def test_the_default_bucket_must_exist(self, connected: Connected, own: Config) -> None:
        account = str(own.role).split(":")[4]
        with pytest.raises(Invalid, match=f"no bucket sagemaker-us-east-1-{account}"):
            connected(bucket=None).train("fraud", command="true")
