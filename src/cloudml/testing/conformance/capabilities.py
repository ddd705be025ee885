"""What a provider declares it cannot do is refused with a reason, before any call; it answers for every capability."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from cloudml.capabilities import require, require_of_request
from cloudml.errors import Unsupported
from cloudml.specs import Endpoint, Model, Monitor, Spec, TrainingJob
from cloudml.spi import Capability, No
from cloudml.testing.conformance.rig import Rig

PAIR = {"deployments": {"blue": {"model": "fraud:1a2b3c4d"}, "green": {"model": "fraud:5e6f7a8b"}}}
JOB = {"command": "true"}
SERVED = {"model": "fraud:1a2b3c4d"}

ASKS: Mapping[Capability, Spec] = {
    Capability.JOBS: TrainingJob(command="true"),
    Capability.JOBS_IMAGE: TrainingJob(command="true", image="python:3.12"),
    Capability.JOBS_GPU: TrainingJob.model_validate(JOB | {"resources": {"gpu": 1}}),
    Capability.JOBS_NODES: TrainingJob(command="true", nodes=2),
    Capability.JOBS_SPOT: TrainingJob(command="true", spot=True),
    Capability.JOBS_RETRIES: TrainingJob(command="true", retries=1),
    Capability.JOBS_DISK: TrainingJob.model_validate(JOB | {"resources": {"disk": "50Gi"}}),
    Capability.JOBS_WAIT_TIMEOUT: TrainingJob(command="true", wait_timeout=60),
    Capability.MODELS: Model(path="sha256:00"),
    Capability.MODELS_ALIAS: Model(path="sha256:00", alias="champion"),
    Capability.MODELS_APPROVAL: Model(path="sha256:00", approval="approved"),
    Capability.ENDPOINTS: Endpoint.model_validate(SERVED),
    Capability.ENDPOINTS_IMAGE: Endpoint.model_validate(SERVED | {"image": "serve:1"}),
    Capability.ENDPOINTS_GPU: Endpoint.model_validate(SERVED | {"resources": {"gpu": 1}}),
    Capability.ENDPOINTS_SCALE: Endpoint.model_validate(SERVED | {"scale": {"max": 3}}),
    Capability.ENDPOINTS_SCALE_TO_ZERO: Endpoint.model_validate(SERVED | {"scale": {"min": 0}}),
    Capability.ENDPOINTS_SPOT: Endpoint.model_validate(SERVED | {"spot": True}),
    Capability.ENDPOINTS_TRAFFIC: Endpoint.model_validate(PAIR | {"traffic": {"blue": 90, "green": 10}}),
    Capability.ENDPOINTS_MIRROR: Endpoint.model_validate(PAIR | {"traffic": {"blue": 100}, "mirror": {"green": 10}}),
    Capability.ENDPOINTS_CAPTURE: Endpoint.model_validate(SERVED | {"capture": 1.0}),
    Capability.ENDPOINTS_REDACT: Endpoint.model_validate(SERVED | {"capture": 1.0, "redact": ["amount"]}),
    Capability.ENDPOINTS_TIMEOUT: Endpoint.model_validate(SERVED | {"timeout": 300}),
    Capability.MONITORS: Monitor(endpoint="fraud-api"),
    Capability.MONITORS_SCHEDULE: Monitor(endpoint="fraud-api", schedule="0 * * * *"),
}
AT_REQUEST = {Capability.ENDPOINTS_PIN}  # asked for by a request, not by a spec
BY_VERB = {Capability.MODELS_ARCHIVE, Capability.MODELS_DELETE_VERSION}


class CapabilitiesContract:
    def test_every_capability_is_answered(self, rig: Rig) -> None:
        assert set(rig.plugin.capabilities) == set(Capability)
        assert set(ASKS) | AT_REQUEST | BY_VERB == set(Capability), "every capability has a spec here that asks for it"
        reasons = [answer.reason for answer in rig.plugin.capabilities.values() if isinstance(answer, No)]
        assert all(reasons)

    @pytest.mark.parametrize("capability", ASKS, ids=lambda capability: capability.value)
    def test_what_cannot_be_done_is_refused_and_what_can_is_not(self, rig: Rig, capability: Capability) -> None:
        before = rig.snapshot()
        answer, spec = rig.plugin.capabilities[capability], ASKS[capability]
        if isinstance(answer, No):
            with pytest.raises(Unsupported) as refused:
                require(rig.plugin, "fraud", spec)
            assert answer.reason in str(refused.value)
            assert refused.value.hint
        elif capability in (Capability.JOBS, Capability.MODELS, Capability.ENDPOINTS, Capability.MONITORS):
            require(rig.plugin, "fraud", spec)
        assert rig.snapshot() == before

    def test_what_only_a_request_asks_for_is_refused_too(self, rig: Rig) -> None:
        for capability in AT_REQUEST:
            answer = rig.plugin.capabilities[capability]
            if isinstance(answer, No):
                with pytest.raises(Unsupported, match=re.escape(answer.reason)):
                    require_of_request(rig.plugin, capability, "a request")
            else:
                require_of_request(rig.plugin, capability, "a request")
