"""Who and where we are in AWS: what is not configured is looked up once, and only when it is needed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cloudml.errors import ConfigError, Invalid
from cloudml.spi import Caller
from cloudml_sagemaker.errors import BUCKET, MOVED
from cloudml_sagemaker.instances import suffix

ASSUMED = re.compile(r"arn:(aws[a-z-]*):sts::(\d{12}):assumed-role/([^/]+)/.*")
MAKE_ROLE = (
    "set 'role' ($CLOUDML_SAGEMAKER_ROLE) to the ARN of a role that trusts sagemaker.amazonaws.com; "
    "'aws iam list-roles --query \"Roles[?contains(RoleName, 'SageMaker')].Arn\"' lists likely ones"
)


@dataclass(frozen=True)
class Clients:
    """One boto3 client for each service, made on first use: ``make(service)``."""

    make: Any
    made: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, service: str) -> Any:
        if service not in self.made:
            self.made[service] = self.make(service)
        return self.made[service]


@dataclass(frozen=True)
class Account:
    """The account, its role and its bucket. ``role_arn``, ``bucket_name`` and ``image_uri`` are what is configured."""

    clients: Clients
    caller: Caller
    region: str
    prefix: str
    version: str
    role_arn: str | None = None
    bucket_name: str | None = None
    image_uri: str | None = None

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Who calls: the only question to STS."""
        found: dict[str, Any] = self.caller.read("GetCallerIdentity", self.clients["sts"].get_caller_identity)
        return found

    @cached_property
    def role(self) -> str:
        """The execution role: as configured, else the role that this code runs with. ConfigError if it has none."""
        if self.role_arn:
            return self.role_arn
        match = ASSUMED.fullmatch(self.identity["Arn"])
        if match is None:
            raise ConfigError(f"no execution role: {self.identity['Arn']} is no role", hint=MAKE_ROLE)
        found = self.caller.read("GetRole", lambda: self.clients["iam"].get_role(RoleName=match[3]))["Role"]
        if "sagemaker.amazonaws.com" not in str(found.get("AssumeRolePolicyDocument", "")):
            raise ConfigError(f"no execution role: {found['Arn']} does not trust SageMaker", hint=MAKE_ROLE)
        return str(found["Arn"])

    @cached_property
    def bucket(self) -> str:
        """The bucket's name; whether it is there is looked at before the first request to it."""
        return self.bucket_name or f"sagemaker-{self.region}-{self.identity['Account']}"

    @cached_property
    def checked_bucket(self) -> str:
        """The bucket, which is there and in our region. Raises Invalid if it is not."""
        s3, name = self.clients["s3"], self.bucket
        found = self.caller.find("HeadBucket", lambda: s3.head_bucket(Bucket=name))
        if found is None:
            hint = BUCKET.replace("BUCKET", name, 1).replace("REGION", self.region, 1)
            raise Invalid(f"there is no bucket {name}", hint=hint)
        headers = found.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        there = found.get("BucketRegion") or headers.get("x-amz-bucket-region") or self.region
        if there != self.region:
            raise Invalid(f"the bucket {name} is in {there}, and this is {self.region}", hint=MOVED)
        return name

    @cached_property
    def image(self) -> str:
        """The image that serves: as configured, else the account's own ``cloudml-serve``."""
        registry = f"dkr.ecr.{self.region}.{suffix(self.region)}"
        return self.image_uri or f"{self.identity['Account']}.{registry}/cloudml-serve:{self.version}"

    def uri(self, key: str) -> str:
        """Where a key of the artifact store is."""
        return f"s3://{self.bucket}/{self.prefix}/{key}"

    def place(self, stack: str, value: str) -> str:
        """Where something planned lies: content by its digest (a folder ends with a slash), or an s3:// URI as it is.

        ConfigError for any other URI.
        """
        kind, _, digest = value.partition(":")
        if kind == "sha256":
            return self.uri(f"{stack}/content/{digest}" + ("" if "/" in digest else "/"))
        if not value.startswith("s3://"):
            raise ConfigError(f"{value} is not in S3", hint="SageMaker reads s3:// URIs, and files of this machine")
        return value
