"""Golden native requests for every neutral field; botocore's own model takes each, patterns and maxima included."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from botocore_shapes import problems, service
from sagemaker_things import (
    BUCKET,
    IMAGE,
    REGION,
    ROLE,
    ROOT,
    STACK,
    checked,
    config,
    endpoint_calls,
    job,
    job_calls,
    model_calls,
    monitor_calls,
    provider,
)

from cloudml import bundle, specs
from cloudml.errors import CloudmlError, ConfigError, Unsupported
from cloudml.spi import Goal, Later, Repeat, Secret
from cloudml.states import Key, Part, Phase, State
from cloudml_sagemaker.instances import INSTANCES, PYTORCH, REGISTRIES, SKLEARN

DIGEST = "ab" * 32
WANT = specs.TrainingJob(command="python train.py")
TAGS = {
    "cloudml-hash": specs.spec_hash(WANT),
    "cloudml-id": "fraud-1a2b3c4d-1",
    "cloudml-kind": "job",
    "cloudml-name": "fraud",
    "cloudml-stack": STACK,
}


def tags(found: Any) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in found}


def channels(document: Any) -> dict[str, str]:
    return {each["ChannelName"]: each["DataSource"]["S3DataSource"]["S3Uri"] for each in document["InputDataConfig"]}


class TestTheValidator:
    """It is worth something only if it refuses."""

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"TrainingJobName": "no_underscores"}, "does not match"),
            ({"TrainingJobName": "a" * 64}, "is over 63"),
            ({"RoleArn": "arn:aws:iam::1:user/somebody-else"}, "does not match"),
            ({"Tags": [{"Key": "a", "Value": "b"}] * 51}, "is over 50"),
            ({"Environment": {"A": "x" * 513}}, "is over 512"),
            ({"Surprise": 1}, "is not known"),
            ({"StoppingCondition": {"MaxRuntimeInSeconds": "10"}}, "is no integer"),
            ({"ResourceConfig": {"InstanceType": "ml.huge", "VolumeSizeInGB": 1}}, "is not one of"),
        ],
    )
    def test_what_the_model_refuses_is_found(self, change: Any, said: str) -> None:
        found = problems("CreateTrainingJob", {**job(), **change})
        assert found
        assert said in found[0]

    def test_every_required_member_is_needed(self) -> None:
        for name in service("sagemaker").operation_model("CreateTrainingJob").input_shape.required_members:
            left = {key: value for key, value in job().items() if key != name}
            assert problems("CreateTrainingJob", left) == [f"CreateTrainingJob.{name} is missing"]


class TestJobs:
    def test_the_whole_request(self) -> None:
        (call,) = job_calls()
        runtime = bundle.key(STACK)
        assert (call.operation, call.target, call.repeat) == ("CreateTrainingJob", "fraud-1a2b3c4d-1", Repeat.SAFE)
        document = dict(call.document)
        assert tags(document.pop("Tags")) == TAGS
        assert channels(call.document) == {
            "cloudml-runtime": f"s3://{BUCKET}/cloudml/{runtime}",
            "cloudml-spec": f"{ROOT}/specs/{specs.spec_hash(WANT)}.json",
        }
        del document["InputDataConfig"]
        assert document == {
            "TrainingJobName": "fraud-1a2b3c4d-1",
            "RoleArn": ROLE,
            "AlgorithmSpecification": {
                "TrainingImage": f"683313688378.dkr.ecr.{REGION}.amazonaws.com/{SKLEARN}",
                "TrainingInputMode": "File",
                "ContainerEntrypoint": ["python3", "/opt/ml/input/data/cloudml-runtime/cloudml.pyz"],
                "ContainerArguments": [
                    *("train", "--id", "fraud-1a2b3c4d-1"),
                    *("--spec", f"/opt/ml/input/data/cloudml-spec/{specs.spec_hash(WANT)}.json"),
                    *("--output", "/opt/ml/output/data", "--model", "/opt/ml/model"),
                    *("--checkpoints", "/opt/ml/checkpoints", "--failure", "/opt/ml/output/failure"),
                ],
            },
            "HyperParameters": {},
            "OutputDataConfig": {"S3OutputPath": f"{ROOT}/runs", "CompressionType": "NONE"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
            "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
            "Environment": {"CLOUDML_PLATFORM": "sagemaker"},
        }

    def test_source_and_inputs_are_channels(self) -> None:
        found = job(
            source=f"sha256:{DIGEST}",
            inputs={"train": f"sha256:{DIGEST}/train.csv", "rest": "s3://theirs/rest/", "one": "s3://theirs/a/one.csv"},
        )
        assert channels(found) | {"cloudml-runtime": "", "cloudml-spec": ""} == {
            "cloudml-runtime": "",
            "cloudml-spec": "",
            "cloudml-source": f"{ROOT}/content/{DIGEST}/",
            "train": f"{ROOT}/content/{DIGEST}/train.csv",
            "rest": "s3://theirs/rest/",
            "one": "s3://theirs/a/one.csv",
        }
        arguments = found["AlgorithmSpecification"]["ContainerArguments"]
        given = [arguments[at + 1] for at, each in enumerate(arguments) if each == "--input"]
        assert arguments[arguments.index("--source") + 1] == "/opt/ml/input/data/cloudml-source"
        assert given == [
            "train=/opt/ml/input/data/train/train.csv",
            "rest=/opt/ml/input/data/rest",
            "one=/opt/ml/input/data/one/one.csv",
        ]

    def test_parameters_are_mirrored_and_never_cut(self) -> None:
        found = job(params={"lr": 0.1, "name": "x", "deep": True, "fits": "y" * 256, "long": "z" * 257})
        assert found["HyperParameters"] == {"lr": "0.1", "name": "x", "deep": "true", "fits": "y" * 256}
        assert len(job(params={f"p{number}": 1 for number in range(101)})["HyperParameters"]) == 100

    def test_spot_waits_and_finds_its_checkpoints(self) -> None:
        found = job(spot=True, timeout="1h", wait_timeout="30m")
        assert found["EnableManagedSpotTraining"] is True
        assert found["StoppingCondition"] == {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 5400}
        run = f"{ROOT}/runs/fraud-1a2b3c4d-1"
        assert found["CheckpointConfig"] == {"S3Uri": f"{run}/checkpoints", "LocalPath": "/opt/ml/checkpoints"}
        assert job(spot=True, timeout=60)["StoppingCondition"]["MaxWaitTimeInSeconds"] == 120

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"retries": 3}, {"RetryStrategy": {"MaximumRetryAttempts": 3}}),
            ({"timeout": 0.2}, {"StoppingCondition": {"MaxRuntimeInSeconds": 1}}),
            (
                {"wait_timeout": "1h"},
                {"StoppingCondition": {"MaxRuntimeInSeconds": 86400, "MaxPendingTimeInSeconds": 3600}},
            ),
            ({"env": {"STEPS": "5"}}, {"Environment": {"CLOUDML_PLATFORM": "sagemaker", "STEPS": "5"}}),
            (
                {"nodes": 2, "resources": {"cpu": 8, "memory": "16Gi", "disk": "100Gi"}},
                {"ResourceConfig": {"InstanceType": "ml.m5.2xlarge", "InstanceCount": 2, "VolumeSizeInGB": 100}},
            ),
            (
                {"resources": {"gpu": 1}},
                {"ResourceConfig": {"InstanceType": "ml.g4dn.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30}},
            ),
        ],
        ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
    )
    def test_a_field(self, fields: Any, expected: Any) -> None:
        if fields.get("timeout"):
            fields = {**fields, "timeout": 1}
        found = job(**fields)
        assert {name: found[name] for name in expected} == expected

    def test_images(self) -> None:
        assert job(image="python:3.12")["AlgorithmSpecification"]["TrainingImage"] == "python:3.12"
        gpu = job(resources={"gpu": 1})["AlgorithmSpecification"]["TrainingImage"]
        assert gpu == f"763104351884.dkr.ecr.{REGION}.amazonaws.com/{PYTORCH}"

    def test_metrics_by_the_line_that_the_runtime_prints(self) -> None:
        (found,) = job(metrics=["auc/val"])["AlgorithmSpecification"]["MetricDefinitions"]
        assert found == {"Name": "auc/val", "Regex": r"#cloudml\.metric name=auc/val value=([0-9eE+\-.]+)"}

    def test_options_and_patch(self) -> None:
        options = {
            "instance_type": "ml.c5.xlarge",
            "subnets": ["subnet-1"],
            "security_groups": ["sg-1"],
            "network_isolation": True,
            "kms_key": "key",
            "volume_kms_key": "disk-key",
            "keep_alive": 600,
        }
        found = job(
            options={"sagemaker": options}, patch={"sagemaker": {"EnableInterContainerTrafficEncryption": True}}
        )
        assert found["ResourceConfig"] == {
            "InstanceType": "ml.c5.xlarge",
            "InstanceCount": 1,
            "VolumeSizeInGB": 30,
            "VolumeKmsKeyId": "disk-key",
            "KeepAlivePeriodInSeconds": 600,
        }
        assert found["VpcConfig"] == {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
        assert found["EnableNetworkIsolation"] is True
        assert found["OutputDataConfig"]["KmsKeyId"] == "key"
        assert found["EnableInterContainerTrafficEncryption"] is True

    def test_labels_are_tags(self) -> None:
        assert tags(job(labels={"team": "risk"})["Tags"]) == {**TAGS, "team": "risk"}

    def test_a_secret_stays_a_reference(self) -> None:
        want = specs.TrainingJob(command="true", env={"TOKEN": "${secret:env:TOKEN}"})
        (call,) = provider().jobs.render(Goal(Key("job", "a-1a2b3c4d-1", STACK), want), None)
        assert call.document["Environment"]["TOKEN"] == Secret("env:TOKEN")

    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ({"labels": {f"label-{number}": "x" for number in range(46)}}, "51 labels, our own included"),
            ({"labels": {"a": "x" * 257}}, "cannot be a tag"),
            ({"labels": {"aws:mine": "x"}}, "cannot be a tag"),
            ({"env": {f"V{number}": "x" for number in range(100)}}, "101 variables"),
            ({"env": {"LONG": "x" * 513}}, "513 characters of 512"),
            ({"inputs": {f"i{number}": "s3://b/x/" for number in range(19)}}, "21 inputs"),
            ({"inputs": {"one": "https://example.org/x"}}, "is not in S3"),
            ({"inputs": {"one": "s3://b/" + "x" * 250 + ".csv"}}, "takes no argument"),
            ({"metrics": [f"m{number}" for number in range(41)]}, "41 metrics"),
            ({"timeout": "29d"}, "timeout of 2.5056e"),
            ({"wait_timeout": 60}, "wait_timeout of 60 s"),
            ({"resources": {"cpu": 1000}}, "no instance type"),
            ({"resources": {"gpu": 1, "gpu_type": "tpu"}}, "there is no GPU 'tpu'"),
            ({"resources": {"shm": "1Gi"}}, "shared memory"),
            ({"options": {"sagemaker": {"instance_type": "big"}}}, "instance_type"),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
    )
    def test_what_sagemaker_would_refuse_is_refused_before_any_call(self, fields: Any, said: str) -> None:
        with pytest.raises((CloudmlError, ValueError), match=said):
            job(**fields)

    def test_a_name_that_is_too_long(self) -> None:
        with pytest.raises(ConfigError, match="64 characters"):
            job(name="a" * 64)


class TestTables:
    def test_every_instance_type_trains_and_hosts(self) -> None:
        model = service("sagemaker")
        trains = set(model.shape_for("TrainingInstanceType").enum)
        hosts = set(model.shape_for("ProductionVariantInstanceType").enum)
        assert {each.name for each in INSTANCES} <= trains & hosts

    def test_a_larger_request_gets_no_smaller_machine(self) -> None:
        sizes = [(each.gpu, each.cpu if not each.gpu else 0) for each in INSTANCES if not each.gpu]
        assert sizes == sorted(sizes)
        gpus = [each.gpu for each in INSTANCES]
        assert gpus == sorted(gpus)

    def test_images_are_known_in_the_large_regions(self) -> None:
        for accounts in REGISTRIES.values():
            assert {"us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-northeast-1"} <= accounts.keys()
            assert all(account.isdigit() and len(account) == 12 for account in accounts.values())


def folder(run: str) -> dict[str, str]:
    return {"S3Uri": f"{ROOT}/runs/{run}/output/model/", "S3DataType": "S3Prefix", "CompressionType": "None"}


PACKAGE = f"arn:aws:sagemaker:{REGION}:123456789012:model-package/fraud/3"
GROUP = f"arn:aws:sagemaker:{REGION}:123456789012:model-package-group/fraud"


def family(*versions: Part, **facts: Any) -> State:
    labels = {"cloudml-stack": STACK, "cloudml-kind": "model", "cloudml-id": "fraud", "cloudml-name": "fraud"}
    return State(
        *(Key("model", "fraud", STACK), Phase.READY, STACK, None, "fraud", versions),
        labels=labels,
        facts=facts,
        native={"ModelPackageGroupArn": GROUP},
    )


class TestModels:
    def test_a_new_family_with_its_first_version(self) -> None:
        group, package, alias = model_calls(**{"from": "run:fraud-1a2b3c4d-1", "alias": "champion"})
        checked([group])
        assert group.document["ModelPackageGroupName"] == "fraud"
        assert "cloudml-hash" not in tags(group.document["Tags"])
        assert package.repeat is Repeat.GUARDED
        assert package.document["CustomerMetadataProperties"]["cloudml-digest"] == Later("digest")
        assert alias.document["ResourceArn"] == Later("arn")
        assert tags(alias.document["Tags"]) == {"cloudml-alias-champion": Later("version")}

    def test_the_whole_package(self) -> None:
        want = {"from": "run:fraud-1a2b3c4d-1", "approval": "pending", "description": "the first one"}
        (package,) = checked(model_calls(have=family(digest="sha256:12"), **want))
        source = {
            "S3Uri": f"{ROOT}/runs/fraud-1a2b3c4d-1/output/model/",
            "S3DataType": "S3Prefix",
            "CompressionType": "None",
        }
        assert package.document == {
            "ModelPackageGroupName": "fraud",
            "ModelPackageDescription": "the first one",
            "InferenceSpecification": {
                "Containers": [{"Image": IMAGE, "ModelDataSource": {"S3DataSource": source}}],
                "SupportedContentTypes": ["application/json", "text/csv", "application/jsonlines"],
                "SupportedResponseMIMETypes": ["application/json", "text/csv"],
            },
            "ModelApprovalStatus": "PendingManualApproval",
            "CustomerMetadataProperties": {
                "cloudml-hash": specs.spec_hash(specs.Model.model_validate(want)),
                "cloudml-digest": "sha256:12",
                "cloudml-run": "fraud-1a2b3c4d-1",
            },
        }

    @pytest.mark.parametrize(
        ("path", "member", "uri"),
        [
            (f"sha256:{DIGEST}", "ModelDataSource", f"{ROOT}/content/{DIGEST}/"),
            (f"sha256:{DIGEST}/model.joblib", "ModelDataSource", f"{ROOT}/content/{DIGEST}/"),
            ("s3://theirs/model", "ModelDataSource", "s3://theirs/model/"),
            ("s3://theirs/model.tar.gz", "ModelDataUrl", "s3://theirs/model.tar.gz"),
        ],
    )
    def test_where_its_files_are(self, path: str, member: str, uri: str) -> None:
        (package,) = checked(model_calls(have=family(digest="sha256:12"), path=path))
        found = package.document["InferenceSpecification"]["Containers"][0][member]
        assert (found if isinstance(found, str) else found["S3DataSource"]["S3Uri"]) == uri

    def test_approval_and_alias_change_in_place(self) -> None:
        want = specs.Model.model_validate({"path": f"sha256:{DIGEST}", "approval": "approved", "alias": "champion"})
        facts = {"approval": "pending", "aliases": ()}
        version = Part("version", "3", PACKAGE, Phase.READY, specs.spec_hash(want), facts=facts)
        approval, alias = checked(model_calls(have=family(version), **specs.document(want)))
        assert approval.document == {"ModelPackageArn": PACKAGE, "ModelApprovalStatus": "Approved"}
        assert alias.document == {"ResourceArn": GROUP, "Tags": [{"Key": "cloudml-alias-champion", "Value": "3"}]}


BOTH = {"deployments": {"blue": {"model": "fraud:1a2b3c4d"}, "green": {"model": "fraud:5e6f7a8b"}}}


def running(**facts: Any) -> State:
    """An endpoint that is there."""
    return State(
        *(Key("endpoint", "fraud-api", STACK), Phase.READY, STACK, "00000000", "fraud-api"),
        facts=facts,
        native={"EndpointArn": f"arn:aws:sagemaker:{REGION}:123456789012:endpoint/fraud-api"},
    )


class TestEndpoints:
    def test_the_whole_way_to_a_new_endpoint(self) -> None:
        calls = endpoint_calls(model="fraud:1a2b3c4d", capture=0.5)
        deployment = specs.spec_hash(specs.Deployment(model="fraud:1a2b3c4d"))
        want = specs.Endpoint.model_validate({"model": "fraud:1a2b3c4d", "capture": 0.5})
        config, model = f"fraud-api-{specs.spec_hash(want)}", f"fraud-api-blue-{deployment}"
        create_model, create_config, create, reached = calls
        checked(calls[:3])
        document = dict(create_model.document)
        assert tags(document.pop("Tags"))["cloudml-hash"] == deployment
        source = folder("fraud-1")
        sidecar = {"S3Uri": f"{ROOT}/models/fraud/1a2b3c4d.json", "S3DataType": "S3Object", "CompressionType": "None"}
        assert document == {
            "ModelName": model,
            "ExecutionRoleArn": ROLE,
            "PrimaryContainer": {
                "Image": IMAGE,
                "ModelDataSource": {"S3DataSource": source},
                "AdditionalModelDataSources": [{"ChannelName": "cloudml", "S3DataSource": sidecar}],
                "Environment": {
                    "CLOUDML_PLATFORM": "sagemaker",
                    "CLOUDML_MODEL_DIR": "/opt/ml/model",
                    "CLOUDML_MODEL_NAME": "fraud",
                    "CLOUDML_MODEL_VERSION": "3",
                    "CLOUDML_MODEL_DIGEST": "sha256:" + "ab" * 32,
                    "CLOUDML_ENDPOINT": "fraud-api",
                    "CLOUDML_DEPLOYMENT": "blue",
                    "CLOUDML_SIGNATURE": "/opt/ml/additional-model-data-sources/cloudml/1a2b3c4d.json",
                },
            },
        }
        document = dict(create_config.document)
        assert tags(document.pop("Tags"))["cloudml-hash"] == specs.spec_hash(want)
        assert document == {
            "EndpointConfigName": config,
            "ProductionVariants": [
                {
                    "VariantName": "blue",
                    "ModelName": model,
                    "InstanceType": "ml.m5.large",
                    "InitialInstanceCount": 1,
                }
            ],
            "DataCaptureConfig": {
                "EnableCapture": True,
                "InitialSamplingPercentage": 50,
                "DestinationS3Uri": f"{ROOT}/captured",
                "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
                "CaptureContentTypeHeader": {
                    "JsonContentTypes": ["application/json", "application/jsonlines"],
                    "CsvContentTypes": ["text/csv"],
                },
            },
        }
        assert (create.document["EndpointName"], create.document["EndpointConfigName"]) == ("fraud-api", config)
        assert "cloudml-hash" not in tags(create.document["Tags"]), "it names what was reached, so it comes last"
        assert reached.document["ResourceArn"] == Later("arn")
        assert tags(reached.document["Tags"]).keys() == {"cloudml-hash"}

    def test_weights_are_never_in_the_configuration(self) -> None:
        calls = endpoint_calls(**BOTH, traffic={"blue": 90, "green": 10})
        config = next(call for call in calls if call.operation == "CreateEndpointConfig")
        assert not any("InitialVariantWeight" in each for each in config.document["ProductionVariants"])
        weights = next(call for call in calls if call.operation == "UpdateEndpointWeightsAndCapacities")
        checked([weights])
        assert weights.document["DesiredWeightsAndCapacities"] == [
            {"VariantName": "blue", "DesiredWeight": 9000.0},
            {"VariantName": "green", "DesiredWeight": 1000.0},
        ]

    def test_a_new_deployment_gets_next_to_nothing_until_its_share_is_set(self) -> None:
        facts = {"config": "fraud-api-old", "weights": {"blue": 1.0}, "traffic": {"blue": 100}, "counts": {"blue": 1}}
        calls = endpoint_calls(have=running(**facts), **BOTH, traffic={"blue": 90, "green": 10})
        checked(calls)
        operations = [call.operation for call in calls]
        at = operations.index("UpdateEndpoint")
        assert operations[at - 1 : at + 2 : 2] == ["UpdateEndpointWeightsAndCapacities"] * 2
        assert calls[at - 1].document["DesiredWeightsAndCapacities"] == [
            {"VariantName": "blue", "DesiredWeight": 10000.0}
        ]
        assert calls[at].document["RetainAllVariantProperties"] is True

    def test_a_mirrored_deployment_is_a_shadow_variant_with_its_share_of_the_other_s_weight(self) -> None:
        want = {**BOTH, "traffic": {"blue": 100}, "mirror": {"green": 25}}
        calls = endpoint_calls(**want)
        config = next(call for call in calls if call.operation == "CreateEndpointConfig")
        checked([config])
        hashed = specs.spec_hash(specs.Endpoint.model_validate(want))
        assert config.target == f"fraud-api-{hashed}-green", "the same deployments, none of them mirrored, are another"
        (blue,), (green,) = (config.document[f"{kind}ProductionVariants"] for kind in ("", "Shadow"))
        assert (blue["VariantName"], "InitialVariantWeight" in blue) == ("blue", False)
        assert (green["VariantName"], green["InitialVariantWeight"]) == ("green", 0.25)
        assert "UpdateEndpointWeightsAndCapacities" not in [call.operation for call in calls]

    def test_what_is_mirrored_moves_in_place_against_the_weight_of_the_other(self) -> None:
        want = {**BOTH, "traffic": {"blue": 100}, "mirror": {"green": 25}}
        config = f"fraud-api-{specs.spec_hash(specs.Endpoint.model_validate(want))}-green"
        facts = {"config": config, "weights": {"blue": 10000.0}, "mirror": {"green": 10}, "traffic": {"blue": 100}}
        calls = endpoint_calls(have=running(**facts, counts={"blue": 1, "green": 1}), **want)
        (moved,) = [call for call in calls if call.operation.startswith("Update")]
        checked([moved])
        rows = moved.document["DesiredWeightsAndCapacities"]
        assert rows == [{"VariantName": "green", "DesiredWeight": 2500.0}]

    def test_a_shadow_that_is_added_brings_its_own_weights_and_one_that_is_promoted_gets_a_small_one(self) -> None:
        facts = {"config": "fraud-api-old", "weights": {"blue": 10000.0}, "mirror": {}, "traffic": {"blue": 100}}
        calls = endpoint_calls(
            have=running(**facts, counts={"blue": 1}), **BOTH, traffic={"blue": 100}, mirror={"green": 25}
        )
        (update,) = checked([call for call in calls if call.operation.startswith("Update")])
        kinds = [each["VariantPropertyType"] for each in update.document["ExcludeRetainedVariantProperties"]]
        assert kinds == ["DataCaptureConfig", "DesiredWeight"]
        facts |= {"weights": {"blue": 1.0}, "mirror": {"green": 25}}
        calls = endpoint_calls(have=running(**facts), **BOTH, traffic={"blue": 90, "green": 10})
        first, update, then = checked([call for call in calls if call.operation.startswith("Update")])
        assert first.document["DesiredWeightsAndCapacities"] == [{"VariantName": "blue", "DesiredWeight": 10000.0}]
        assert len(update.document["ExcludeRetainedVariantProperties"]) == 1
        assert len(then.document["DesiredWeightsAndCapacities"]) == 2

    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ({"traffic": {"blue": 90, "green": 10}, "mirror": {"green": 10}}, "green is mirrored to and has traffic"),
            ({"traffic": {"blue": 100}, "mirror": {"green": 10, "red": 10}}, "of one deployment to one other"),
            ({"traffic": {"blue": 50, "red": 50}, "mirror": {"green": 10}}, "blue, green, red"),
        ],
    )
    def test_what_cannot_be_mirrored_is_refused_before_any_call(self, fields: Any, said: str) -> None:
        names = ("blue", "green", "red") if "red" in str(fields) else ("blue", "green")
        deployments = {name: {"model": "fraud:1a2b3c4d"} for name in names}
        with pytest.raises(Unsupported, match=said) as refused:
            endpoint_calls(deployments=deployments, **fields)
        assert refused.value.hint

    def test_automatic_scaling_is_a_target_with_a_policy_once_there_is_an_endpoint(self) -> None:
        scale = {"min": 2, "max": 5, "metric": "requests", "target": 300}
        calls = endpoint_calls(model="fraud:1a2b3c4d", scale=scale)
        assert [call.operation for call in calls][2:] == [
            *("CreateEndpoint", "RegisterScalableTarget", "PutScalingPolicy", "AddTags"),
        ]
        config, target, policy = calls[1], calls[3], calls[4]
        assert config.document["ProductionVariants"][0]["InitialInstanceCount"] == 2
        key = {
            "ServiceNamespace": "sagemaker",
            "ResourceId": "endpoint/fraud-api/variant/blue",
            "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
        }
        assert target.document == {**key, "MinCapacity": 2, "MaxCapacity": 5}
        assert policy.document == {
            "PolicyName": "cloudml",
            **key,
            "PolicyType": "TargetTrackingScaling",
            "TargetTrackingScalingPolicyConfiguration": {
                "TargetValue": 300.0,
                "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
            },
        }
        for call in (target, policy):
            assert not problems(call.operation, call.document, "application-autoscaling")

    @pytest.mark.parametrize(
        ("fields", "metric", "value"),
        [
            ({}, "CPUUtilization", 60 * 2),
            ({"resources": {"cpu": 4}, "scale": {"max": 2, "target": 50}}, "CPUUtilization", 50 * 4),
            (
                {"resources": {"gpu": 4}, "scale": {"max": 2, "metric": "gpu", "target": 50}},
                "GPUUtilization",
                50 * 4,
            ),
        ],
    )
    def test_utilization_is_summed_over_cores_and_gpus(self, fields: dict[str, Any], metric: str, value: float) -> None:
        calls = endpoint_calls(**{"model": "fraud:1a2b3c4d", "scale": {"max": 2}, **fields})
        (call,) = [call for call in calls if call.operation == "PutScalingPolicy"]
        assert not problems(call.operation, call.document, "application-autoscaling")
        found = call.document["TargetTrackingScalingPolicyConfiguration"]
        assert found["TargetValue"] == value
        assert found["CustomizedMetricSpecification"] == {
            "MetricName": metric,
            "Namespace": "/aws/sagemaker/Endpoints",
            "Dimensions": [
                {"Name": "EndpointName", "Value": "fraud-api"},
                {"Name": "VariantName", "Value": "blue"},
            ],
            "Statistic": "Average",
            "Unit": "Percent",
        }

    @pytest.mark.parametrize(
        ("fields", "operations"),
        [
            ({"scale": {"max": 2}}, []),
            ({"scale": {"max": 4}}, ["RegisterScalableTarget"]),
            ({"scale": {"max": 2, "target": 70}}, ["PutScalingPolicy"]),
            ({"scale": {"min": 2, "max": 2}}, ["DeregisterScalableTarget", "UpdateEndpointWeightsAndCapacities"]),
            (
                {"scale": {"max": 2}, "resources": {"cpu": 4}},
                ["DeregisterScalableTarget", "UpdateEndpoint", "RegisterScalableTarget", "PutScalingPolicy"],
            ),
            ({"scale": {"max": 2}, "env": {"OTHER": "1"}}, ["UpdateEndpoint"]),
        ],
    )
    def test_scaling_moves_in_place_and_steps_aside_for_another_instance_type(
        self, fields: dict[str, Any], operations: list[str]
    ) -> None:
        """What AWS itself adds to a policy, and how many instances there are just now, is no difference."""
        before = specs.Endpoint.model_validate({"model": "fraud:1a2b3c4d", "scale": {"max": 2}})
        (made,) = [
            call
            for call in endpoint_calls(model="fraud:1a2b3c4d", scale={"max": 2})
            if call.operation == "PutScalingPolicy"
        ]
        policy = made.document["TargetTrackingScalingPolicyConfiguration"] | {"DisableScaleIn": False}
        target = Part(
            *("scaling", "blue", "endpoint/fraud-api/variant/blue", Phase.READY),
            facts={"min": 1, "max": 2, "policy": policy},
        )
        facts = {"config": f"fraud-api-{specs.spec_hash(before)}", "types": {"blue": "ml.m5.large"}}
        facts |= {"weights": {"blue": 1.0}, "traffic": {"blue": 100}, "counts": {"blue": 1}}
        calls = endpoint_calls(have=replace(running(**facts), parts=(target,)), model="fraud:1a2b3c4d", **fields)
        found = [call.operation for call in calls if not call.operation.startswith(("Create", "AddTags"))]
        assert found == operations

    def test_resources_scale_options_and_patch(self) -> None:
        calls = endpoint_calls(
            model="fraud:1a2b3c4d",
            image="their/image:1",
            env={"THREADS": "2"},
            resources={"gpu": 1, "disk": "50Gi"},
            scale={"min": 2, "max": 2},
            labels={"team": "risk"},
            options={
                "sagemaker": {
                    "startup_timeout": 300,
                    "download_timeout": 900,
                    "subnets": ["subnet-1"],
                    "security_groups": ["sg-1"],
                }
            },
            patch={"sagemaker": {"KmsKeyId": "key"}},
        )
        model, config = checked(calls[:2])
        assert model.document["PrimaryContainer"]["Image"] == "their/image:1"
        assert model.document["PrimaryContainer"]["Environment"]["THREADS"] == "2"
        assert model.document["VpcConfig"] == {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
        (variant,) = config.document["ProductionVariants"]
        assert {name: value for name, value in variant.items() if "Name" not in name} == {
            "InstanceType": "ml.g4dn.xlarge",
            "InitialInstanceCount": 2,
            "VolumeSizeInGB": 50,
            "ContainerStartupHealthCheckTimeoutInSeconds": 300,
            "ModelDataDownloadTimeoutInSeconds": 900,
        }
        assert config.document["KmsKeyId"] == "key"
        assert tags(config.document["Tags"])["team"] == "risk"

    @pytest.mark.parametrize(
        ("fields", "said", "error"),
        [
            ({"timeout": 30}, "after 60 s", Unsupported),
            (
                {"scale": {"max": 3}, "options": {"sagemaker": {"instance_type": "ml.c5.large"}}},
                "how many CPUs ml.c5.large has",
                ConfigError,
            ),
            ({"scale": {"max": 3, "metric": "gpu"}}, "how many GPUs ml.m5.large has", ConfigError),
            ({"env": {"LONG": "x" * 1025}}, "1025 characters of 1024", ConfigError),
            ({"resources": {"disk": "600Gi"}}, "600 GiB of disk", ConfigError),
        ],
    )
    def test_what_sagemaker_would_refuse_is_refused_before_any_call(
        self, fields: Any, said: str, error: type[Exception]
    ) -> None:
        with pytest.raises(error, match=said):
            endpoint_calls(model="fraud:1a2b3c4d", **fields)

    def test_the_longest_names_fit(self) -> None:
        longest = "a" * 32
        checked(
            endpoint_calls(longest, deployments={"b" * 20: {"model": "fraud:1a2b3c4d"}}, traffic={"b" * 20: 100})[:3]
        )


class TestMonitors:
    def test_the_whole_schedule(self) -> None:
        want = {"schedule": "0 * * * *", "drift": {"psi": 0.2, "ks": 0.1}, "window": "90m"}
        (call,) = checked(monitor_calls(**want, shadows=("green",)))
        document = dict(call.document)
        hashed = specs.spec_hash(specs.Monitor.model_validate({**want, "endpoint": "fraud-api"}))
        assert tags(document.pop("Tags")) == {
            "cloudml-stack": STACK,
            "cloudml-kind": "monitor",
            "cloudml-name": "fraud-api",
            "cloudml-id": "fraud-api",
            "cloudml-hash": hashed,
        }
        assert document == {
            "MonitoringScheduleName": "fraud-api",
            "MonitoringScheduleConfig": {
                "ScheduleConfig": {
                    "ScheduleExpression": "cron(0 * ? * * *)",
                    "DataAnalysisStartTime": "-PT1H30M",
                    "DataAnalysisEndTime": "-PT0H",
                },
                "MonitoringJobDefinition": {
                    "BaselineConfig": {"StatisticsResource": {"S3Uri": f"{ROOT}/models/fraud/1a2b3c4d.json"}},
                    "MonitoringInputs": [
                        {
                            "EndpointInput": {
                                "EndpointName": "fraud-api",
                                "LocalPath": "/opt/ml/processing/input/endpoint",
                                "S3InputMode": "File",
                                "S3DataDistributionType": "FullyReplicated",
                            }
                        }
                    ],
                    "MonitoringOutputConfig": {
                        "MonitoringOutputs": [
                            {
                                "S3Output": {
                                    "S3Uri": f"{ROOT}/monitors/fraud-api/runs",
                                    "LocalPath": "/opt/ml/processing/output",
                                    "S3UploadMode": "EndOfJob",
                                }
                            }
                        ]
                    },
                    "MonitoringResources": {
                        "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 20}
                    },
                    "MonitoringAppSpecification": {"ImageUri": IMAGE, "ContainerArguments": ["monitor"]},
                    "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
                    "Environment": {
                        "CLOUDML_PLATFORM": "sagemaker",
                        "CLOUDML_ENDPOINT": "fraud-api",
                        "CLOUDML_MODEL": "fraud:1a2b3c4d",
                        "CLOUDML_LIMITS": '{"ks":0.1,"psi":0.2}',
                        "CLOUDML_MIN_SAMPLES": "200",
                        "CLOUDML_SINCE": "2026-11-28T02:50:54Z",
                        "CLOUDML_WITHOUT": "green",
                    },
                    "RoleArn": ROLE,
                },
            },
        }

    @pytest.mark.parametrize(
        ("line", "expression"),
        [
            ("0 * * * *", "cron(0 * ? * * *)"),
            ("00 */1 * * *", "cron(0 * ? * * *)"),
            ("0 0-23 * * *", "cron(0 * ? * * *)"),
            ("0 */6 * * *", "cron(0 0/6 ? * * *)"),
            ("0 1/12 * * *", "cron(0 1/12 ? * * *)"),
            ("0 5,17 * * *", "cron(0 5/12 ? * * *)"),
            ("0 1-23/2 * * *", "cron(0 1/2 ? * * *)"),
            ("0 03 * * *", "cron(0 3 ? * * *)"),
        ],
    )
    def test_a_cron_line_of_full_hours(self, line: str, expression: str) -> None:
        (call,) = checked(monitor_calls(schedule=line))
        assert call.document["MonitoringScheduleConfig"]["ScheduleConfig"] == {"ScheduleExpression": expression}

    @pytest.mark.parametrize(
        "line",
        [
            *("30 * * * *", "*/5 * * * *", "0 3 1 * *", "0 3 * 1 *", "0 3 * * 1", "0 */5 * * *", "0 8-18 * * *"),
            *("0 3,4 * * *", "0 24 * * *", "0 */0 * * *", "0 5-3 * * *", "0 9-17/4 * * *"),
        ],
    )
    def test_a_cron_line_that_sagemaker_has_no_words_for(self, line: str) -> None:
        with pytest.raises(ConfigError, match=r"monitor fraud-api: .* every hour, .* not by") as refused:
            monitor_calls(schedule=line)
        assert "cloudml monitors run" in str(refused.value.hint)

    def test_more_thresholds_than_a_variable_holds(self) -> None:
        drift = dict.fromkeys(specs.STATISTICS, 0.123456)
        with pytest.raises(ConfigError, match=r"CLOUDML_LIMITS has \d+ characters of 256"):
            monitor_calls(schedule="0 * * * *", drift=drift)


def test_settings_are_checked_when_they_are_read() -> None:
    for wrong in ({"role": "training"}, {"bucket": "No_Bucket"}, {"region": "Frankfurt"}, {"prefix": "/x"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            config(**wrong)
