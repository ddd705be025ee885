"""Starts an emulated AWS: one server, its backends by host, an account with a role and a bucket.

Most of what is not SageMaker is answered by moto; with CLOUDML_LOCALSTACK by LocalStack, as far as it goes.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from cloudml.emulation import Cloud, Route, Site
from cloudml.errors import CloudmlError
from cloudml_sagemaker.emulator import (
    configs,
    endpoints,
    executions,
    jobs,
    localstack,
    models,
    monitors,
    packages,
    registry,
    scaling,
    tags,
    targets,
)
from cloudml_sagemaker.emulator.accounts import Scope, Timing, World
from cloudml_sagemaker.emulator.containers import SECRET
from cloudml_sagemaker.emulator.front import Answer, Backend, Front, Request, Streamed
from cloudml_sagemaker.emulator.invoking import Runtime
from cloudml_sagemaker.emulator.motos import Moto
from cloudml_sagemaker.emulator.others import Others
from cloudml_sagemaker.emulator.problems import DEFECTS
from cloudml_sagemaker.emulator.recording import Recorder
from cloudml_sagemaker.emulator.services import Services, empty
from cloudml_sagemaker.emulator.signing import access_key
from cloudml_sagemaker.emulator.wire import Control

OPERATIONS = {
    **jobs.OPERATIONS,
    **models.OPERATIONS,
    **packages.OPERATIONS,
    **configs.OPERATIONS,
    **endpoints.OPERATIONS,
    **monitors.OPERATIONS,
    **tags.OPERATIONS,
}
REGION = "us-east-1"
FIRST = 100_000_000_001  # the account of the first emulator of this process; each has its own, because moto is one
ACCOUNTS = itertools.count(FIRST)
INTERNAL = ("recorder", "roles")  # tables that hold no resources
ROLE = "cloudml-sagemaker"
TRUST = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"sagemaker.amazonaws.com"},'
TRUST += '"Action":"sts:AssumeRole"}]}'
EVERYTHING = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'


def start(site: Site, timing: Timing | None = None) -> Cloud:
    """The whole of it; `Cloud.close` ends it with all its containers."""
    running = _Running(site, timing or Timing())
    try:
        if running.localstack:
            running.localstack.ready()
        environment = running.furnish()
    except BaseException:
        running.close()
        raise
    routes = [Route("*.amazonaws.com", running.front.port)]
    return Cloud(routes, environment, running.close, running.inspect, running.reset, running.furnish)


class _Running:
    """The server and what is behind it."""

    def __init__(self, site: Site, timing: Timing) -> None:
        self.localstack = localstack.asked_for(site.folder)
        self.front = Front(self._choose)
        self.world = World(site, Services(f"http://127.0.0.1:{self.front.port}"), timing)
        sources = dict.fromkeys(localstack.SERVICES, self.localstack) if self.localstack else {}
        self._others = Others(self.world, Moto(), sources)
        self._control = Control(self.world, OPERATIONS, self._others.account)
        self._runtime = Runtime(self.world, self._others.account)
        self._scaling = scaling.Scaling(self.world, self._others.account, self._others)
        self._registry = registry.Registry(self.world)
        self._buckets: dict[str, str] = {}  # the first bucket of each account that was furnished
        self.world.local = self._local
        self.world.spawn("aws-ticker", self._tick)

    def _choose(self, request: Request) -> Backend | Streamed:
        if request.host.startswith("127.0.0.1") and request.path.startswith("/v2/"):
            return self._registry
        if request.host.startswith("127.0.0.1"):  # by endpoint_url: the signature names the service
            return self._by_signature
        if request.host.startswith("api.sagemaker."):
            return self._control
        if request.host.startswith("runtime.sagemaker."):
            return self._runtime
        if registry.HOST.fullmatch(request.host):
            return self._registry
        return self._scaling if request.host.startswith("application-autoscaling.") else self._others

    def _local(self, image: str) -> str:
        return self._registry.local(image, self.front.port)

    def _by_signature(self, request: Request) -> Answer:
        signer = request.signer
        service, region = (signer.service, signer.region) if signer else ("s3", REGION)
        if service == "sagemaker":
            return (self._runtime if request.path.startswith("/endpoints/") else self._control)(request)
        behind = self._scaling if service == "application-autoscaling" else self._others
        return behind(replace(request, host=f"{service}.{region}.amazonaws.com"))

    def furnish(self) -> Mapping[str, str]:
        """A new account, with a role and a bucket; what a program in it has in its environment."""
        own = str(next(ACCOUNTS))
        iam = self.world.services.client("iam", own, REGION)
        iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=TRUST)
        iam.put_role_policy(RoleName=ROLE, PolicyName="everything", PolicyDocument=EVERYTHING)
        bucket = self._buckets[own] = f"cloudml-{own}"
        self.world.services.client("s3", own, REGION).create_bucket(Bucket=bucket)
        return {
            "AWS_ACCESS_KEY_ID": access_key(own),
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "CLOUDML_SAGEMAKER_ROLE": f"arn:aws:iam::{own}:role/{ROLE}",
            "CLOUDML_SAGEMAKER_BUCKET": bucket,
            "CLOUDML_SAGEMAKER_IMAGE": f"{own}.dkr.ecr.{REGION}.amazonaws.com/cloudml-serve:latest",
        }

    def _tick(self) -> None:
        """What goes on beside all calls: records to be stored, containers to be kept."""
        while not self.world.sleep(self.world.timing.flush):
            self._pass()

    def _pass(self) -> None:
        for scope in [*self.world.scopes.values()]:
            # Whatever goes wrong with one of an account's affairs, the others go on, and the next pass tries again.
            for affair in (_keep, _store, scaling.adjust, executions.run_due):
                with suppress(ClientError, BotoCoreError, CloudmlError, OSError, *DEFECTS):
                    affair(scope)

    def inspect(self) -> dict[str, Any]:
        """What there is, by account and region, and how often each operation was called."""
        held: dict[str, Any] = {
            f"{account}/{region}": {
                kind: sorted([*table]) for kind, table in [*scope.tables.items()] if table and kind not in INTERNAL
            }
            for (account, region), scope in [*self.world.scopes.items()]
        }
        return held | {"calls": {account: dict(counts) for account, counts in [*self.world.calls.items()]}}

    def _end_all(self) -> None:
        for scope in [*self.world.scopes.values()]:
            for endpoint in [*scope.table(endpoints.KIND).values()]:
                for fleet in (endpoint.fleet, endpoint.green):
                    if fleet:
                        fleet.close(drain=False)

    def reset(self) -> None:
        """Ends what runs and forgets SageMaker's resources and S3's objects; an account, its role and bucket stay."""
        for scope in [*self.world.scopes.values()]:
            for job in [*scope.table(jobs.KIND).values()]:
                job.stopping.set()
            for job in [*scope.table(jobs.KIND).values()]:
                job.done.wait(self.world.timing.grace + 10)
        for scope in [*self.world.scopes.values()]:
            for name in {target.endpoint for target in scope.table(targets.KIND).values()}:
                targets.forget(scope, name)
        self._end_all()
        with self.world.lock:
            self.world.scopes.clear()
        for own, bucket in [*self._buckets.items()]:
            empty(self.world.services, own, REGION, keep=bucket)

    def close(self) -> None:
        self.world.ending.set()
        self._end_all()
        for thread in [*self.world.threads]:
            thread.join(self.world.timing.grace + 10)
        self.front.close()
        self.world.services.close()
        if self.localstack:
            self.localstack.close()
        for path in [*self.world.site.folder.iterdir()]:
            if path.name != "containers":
                shutil.rmtree(path, ignore_errors=True)


def _keep(scope: Scope) -> None:
    """Containers that are to run."""
    for endpoint in [*scope.table(endpoints.KIND).values()]:
        for fleet in (endpoint.fleet, endpoint.green):
            if fleet:
                fleet.keep()


def _store(scope: Scope) -> None:
    """What calls have left behind."""
    for recorder in [*scope.table("recorder").values()]:
        if isinstance(recorder, Recorder):
            recorder.flush()
