"""One provider over one account and region: the only file that imports the AWS SDK."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config as Settings
from botocore.loaders import Loader
from botocore.session import get_session

from cloudml import __version__
from cloudml.errors import ConfigError
from cloudml.spi import Caller
from cloudml_sagemaker.account import Account, Clients
from cloudml_sagemaker.artifacts import S3Artifacts
from cloudml_sagemaker.endpoints import SageMakerEndpoints
from cloudml_sagemaker.errors import REGION
from cloudml_sagemaker.instances import REGIONS
from cloudml_sagemaker.jobs import TrainingJobs
from cloudml_sagemaker.models import ModelPackages
from cloudml_sagemaker.monitors import MonitoringSchedules
from cloudml_sagemaker.tags import Tags
from cloudml_sagemaker.telemetry import CloudWatch

# The caller retries; the SDK's own attempts would multiply with its.
SETTINGS: Mapping[str, Any] = {
    "retries": {"total_max_attempts": 1},
    "connect_timeout": 10,
    "read_timeout": 70,  # SageMaker ends a request to a model after 60 s
    "max_pool_connections": 32,
    "user_agent_extra": f"cloudml/{__version__}",
}


@dataclass(frozen=True)
class SageMakerProvider:
    """What ``connect`` returns."""

    jobs: TrainingJobs
    models: ModelPackages
    endpoints: SageMakerEndpoints
    artifacts: S3Artifacts
    telemetry: CloudWatch
    monitors: MonitoringSchedules


def provider(config: Any, caller: Caller) -> SageMakerProvider:
    """The provider that a configuration and the environment name. ConfigError without a region."""
    account = opened(config, os.environ, caller)
    tags, artifacts = Tags(account.clients, caller), S3Artifacts(account, caller)
    return SageMakerProvider(
        jobs=TrainingJobs(account, tags, artifacts, caller),
        models=ModelPackages(account, tags, artifacts, caller),
        endpoints=SageMakerEndpoints(account, tags, caller),
        artifacts=artifacts,
        telemetry=CloudWatch(account, artifacts, caller),
        monitors=MonitoringSchedules(account, tags, caller),
    )


MODELS = Loader()  # AWS's service models, read from disk once in a process


def _session(profile: str | None) -> Any:
    own = get_session()
    own.register_component("data_loader", MODELS)
    session = boto3.Session(botocore_session=own, profile_name=profile)
    own.get_scoped_config()  # raises for a profile that there is not, also for one of the environment
    return session


def _check_region(session: Any, region: str) -> None:
    """ConfigError for a region that AWS's own list has no SageMaker in: its host would be looked for in vain."""
    known = {
        each
        for partition in session.get_available_partitions()
        for each in session.get_available_regions("sagemaker", partition_name=partition)
    }
    if region not in known:
        near = difflib.get_close_matches(region, sorted(known), n=1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        said = f"there is no SageMaker in a region {region!r} that boto3 {boto3.__version__} knows"
        raise ConfigError(said, hint=f"{meant}{REGION}; a new region needs a newer boto3")


def opened(config: Any, env: Mapping[str, str], caller: Caller) -> Account:
    """The account, before anything is asked of it."""
    session = caller.read("LoadProfile", lambda: _session(config.profile))
    region = config.region or env.get("AWS_REGION") or session.region_name
    if not region:
        raise ConfigError("no region is set", hint=REGION)
    if region not in REGIONS and not any(name.startswith("AWS_ENDPOINT_URL") for name in env):
        _check_region(session, region)
    settings = Settings(region_name=region, **SETTINGS)

    def make(service: str) -> Any:
        return caller.read(f"Client {service}", lambda: session.client(service, config=settings))

    return Account(
        clients=Clients(make),
        caller=caller,
        region=region,
        prefix=config.prefix,
        version=__version__,
        role_arn=config.role or env.get("CLOUDML_SAGEMAKER_ROLE") or None,
        bucket_name=config.bucket or env.get("CLOUDML_SAGEMAKER_BUCKET") or None,
        image_uri=config.image or env.get("CLOUDML_SAGEMAKER_IMAGE") or None,
    )
