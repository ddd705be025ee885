"""What AWS's errors become, and what a user is told: real exceptions of botocore, made by botocore."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from sagemaker_things import caller, config

from cloudml import errors, plugins
from cloudml.client import connect_plugin
from cloudml.errors import ConfigError, MissingExtra, ProviderError, Unauthenticated, Unavailable
from cloudml.waiting import Clock
from cloudml_sagemaker.connect import opened
from cloudml_sagemaker.plugin import plugin

ROWS = [
    ("ThrottlingException", "Rate exceeded", 400, "DescribeEndpoint", errors.Throttled, None),
    ("SlowDown", "Reduce your request rate", 503, "PutObject", errors.Throttled, None),
    ("ExpiredTokenException", "The security token is expired", 400, "ListTags", errors.Unauthenticated, "sign in"),
    ("InvalidClientTokenId", "The token is invalid", 403, "GetCallerIdentity", errors.Unauthenticated, "sign in"),
    ("AccessDeniedException", "is not authorized to perform", 400, "CreateModel", errors.Denied, "permissions"),
    ("403", "Forbidden", 403, "HeadBucket", errors.Denied, "permissions"),
    ("404", "Not Found", 404, "HeadObject", errors.NotFound, None),
    ("NoSuchKey", "The specified key does not exist.", 404, "GetObject", errors.NotFound, None),
    ("NoSuchBucket", "The specified bucket does not exist", 404, "PutObject", errors.Invalid, "aws s3 mb"),
    ("PermanentRedirect", "address the specified endpoint", 301, "PutObject", errors.Invalid, "its own region"),
    ("ResourceInUse", "names must be unique", 400, "CreateTrainingJob", errors.AlreadyExists, None),
    ("ResourceInUse", "it is running", 400, "DeleteTrainingJob", errors.PreconditionFailed, None),
    ("ResourceNotFound", "Requested resource not found.", 400, "StopTrainingJob", errors.NotFound, None),
    ("ResourceLimitExceeded", "service limit is 0 Instances", 400, "CreateTrainingJob", errors.QuotaExceeded, "Quotas"),
    ("ConflictException", "still contains packages", 400, "DeleteModelPackageGroup", errors.PreconditionFailed, None),
    ("ValidationException", 'Could not find endpoint "x".', 400, "DescribeEndpoint", errors.NotFound, None),
    ("ValidationException", "Requested resource not found.", 400, "DescribeTrainingJob", errors.NotFound, None),
    ("ValidationException", "ModelPackageGroup x does not exist.", 400, "ListModelPackages", errors.NotFound, None),
    ("ValidationException", "Cannot create already existing model", 400, "CreateModel", errors.AlreadyExists, None),
    (
        "ValidationException",
        "Cannot update in-progress endpoint",
        400,
        "UpdateEndpoint",
        errors.PreconditionFailed,
        None,
    ),
    ("ValidationException", "Could not assume role x", 400, "CreateTrainingJob", errors.Denied, "trust"),
    ("ValidationException", "1 validation error detected", 400, "CreateModel", errors.Invalid, None),
    ("InternalFailure", "", 500, "CreateModel", errors.Unavailable, None),
    ("Unknown", "who knows", 503, "CreateModel", errors.Unavailable, None),
    ("Unknown", "who knows", 418, "CreateModel", errors.Invalid, None),
]


@pytest.mark.parametrize(("code", "text", "status", "operation", "kind", "hint"), ROWS)
def test_a_code_by_table(
    code: str, text: str, status: int, operation: str, kind: type[ProviderError], hint: str | None
) -> None:
    about = {"HTTPStatusCode": status, "RequestId": "r-1", "HTTPHeaders": {"retry-after": "7"}}
    found = plugin.classify(
        ClientError({"Error": {"Code": code, "Message": text}, "ResponseMetadata": about}, operation)
    )
    assert type(found) is kind
    assert (found.operation, found.request_id, found.retry_after) == (operation, "r-1", 7.0)
    assert (hint is None and found.hint is None) or (hint is not None and hint in str(found.hint))


def test_a_model_s_own_error_has_the_model_s_status() -> None:
    answer: Any = {"Error": {"Code": "ModelError", "Message": "Received client error (400)"}}
    answer |= {"OriginalStatusCode": 400, "OriginalMessage": "no such feature"}
    found = plugin.classify(ClientError(answer, "InvokeEndpoint"))
    assert isinstance(found, errors.ModelError)
    assert (found.status, found.exit_code, str(found)) == (400, 3, "no such feature")


def test_a_defect_stays_what_it_is() -> None:
    assert plugin.classify(KeyError("x")) is None


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """No credentials, no region, no profile: nothing of this machine's."""
    import os

    for name in [name for name in os.environ if name.startswith(("AWS_", "CLOUDML_SAGEMAKER_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return monkeypatch


def asked(**more: Any) -> Callable[[], object]:
    provider = plugin.connect(config(**more), caller(Clock(lambda: 0.0, lambda seconds: None)))
    return lambda: list(provider.jobs.list(None))


class TestBeforeAnyAnswer:
    def test_without_the_sdk_it_says_what_to_install(self, nobody: pytest.MonkeyPatch) -> None:
        nobody.setitem(sys.modules, "boto3", None)
        nobody.delitem(sys.modules, "cloudml_sagemaker.connect", raising=False)
        nobody.delattr("cloudml_sagemaker.connect", raising=False)
        assert plugins.load("sagemaker").name == "sagemaker", "the plugin itself needs none"
        with pytest.raises(MissingExtra, match="needs boto3") as missing:
            connect_plugin(plugin, "shop-test", [], config().model_dump())
        assert missing.value.hint == 'pip install "cloudml-sdk[sagemaker]"'

    def test_no_region(self, nobody: pytest.MonkeyPatch) -> None:
        with pytest.raises(ConfigError, match="no region") as refused:
            plugin.connect(config(region=None), caller())
        assert "AWS_REGION" in str(refused.value.hint)

    def test_no_credentials(self, nobody: pytest.MonkeyPatch) -> None:
        with pytest.raises(Unauthenticated, match="credentials") as refused:
            asked()()
        assert refused.value.exit_code == 4
        assert "aws sso login" in str(refused.value.hint)

    def test_half_of_the_credentials(self, nobody: pytest.MonkeyPatch) -> None:
        nobody.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        with pytest.raises(Unauthenticated, match="AWS_SECRET_ACCESS_KEY"):
            asked()()

    def test_a_profile_that_is_not_there(self, nobody: pytest.MonkeyPatch) -> None:
        with pytest.raises(Unauthenticated, match="nobody-s"):
            asked(profile="nobody-s")()

    def test_nobody_answers(self, nobody: pytest.MonkeyPatch) -> None:
        """A region that does not exist has no host; here, a port where nobody listens."""
        nobody.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        nobody.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        nobody.setenv("AWS_SECRET_ACCESS_KEY", "none")
        with pytest.raises(Unavailable) as refused:
            asked()()
        assert "AWS_REGION" in str(refused.value.hint)

    def test_settings_come_from_the_configuration_then_the_environment(self, nobody: pytest.MonkeyPatch) -> None:
        env = {"AWS_REGION": "eu-west-1", "CLOUDML_SAGEMAKER_BUCKET": "theirs", "CLOUDML_SAGEMAKER_IMAGE": "i"}
        env["CLOUDML_SAGEMAKER_ROLE"] = "arn:aws:iam::123456789012:role/theirs"
        found = opened(config(region=None, bucket=None, image=None, role=None), env, caller())
        assert (found.region, found.bucket, found.image, found.role) == ("eu-west-1", *[*env.values()][1:])
        found = opened(config(), env, caller())
        assert (found.region, found.bucket) == ("us-east-1", "shop-bucket")
