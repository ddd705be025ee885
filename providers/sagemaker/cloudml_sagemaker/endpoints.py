"""Endpoints: models and configurations by hash, one endpoint that names one, and weights that move by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from cloudml import specs
from cloudml.errors import NotFound
from cloudml.spi import Call, Caller, Goal, Operation, Payload
from cloudml.states import Failure, Key, Part, Phase, State
from cloudml_sagemaker import scaling
from cloudml_sagemaker.account import Account
from cloudml_sagemaker.instances import suffix
from cloudml_sagemaker.serving import config_name, gone, present
from cloudml_sagemaker.tags import HASH, ID, KIND, STACK, Tags, pages
from cloudml_sagemaker.traffic import mirror_of, percent, weights_of

Listed = tuple[str, str, datetime]
PHASES = {
    "Creating": Phase.CREATING,
    "InService": Phase.READY,
    "Updating": Phase.UPDATING,
    "SystemUpdating": Phase.MAINTENANCE,
    "RollingBack": Phase.ROLLING_BACK,
    "UpdateRollbackFailed": Phase.DEGRADED,
    "OutOfService": Phase.DEGRADED,
    "Failed": Phase.FAILED,
    "Deleting": Phase.DELETING,
}
LINES = 5  # of a variant's log that tell why an update was rolled back
HEADERS = {"x-amzn-sagemaker-custom-attributes": "CustomAttributes", "x-amzn-sagemaker-inference-id": "InferenceId"}


class SageMakerEndpoints:
    def __init__(self, account: Account, tags: Tags, caller: Caller) -> None:
        self._account = account
        self._tags = tags
        self._call = caller
        self._known: dict[tuple[str, datetime], Mapping[str, Any]] = {}

    def observe(self, key: Key, want: specs.Endpoint | None) -> State | None:
        found = self._find("DescribeEndpoint", EndpointName=key.name)
        parts = [*self._configs(key.name), *self._models(key.name)]
        parts += self._scaling(key.name, parts)
        if found is None:
            owner = next((part.facts["owner"] for part in parts if "owner" in part.facts), None)
            return State(key, Phase.EMPTY, owner, parts=tuple(parts)) if parts else None
        return self._state(key, found, parts, want)

    def render(self, goal: Goal[specs.Endpoint], have: State | None) -> Sequence[Call]:
        if goal.want is None:
            return [] if goal.cancel or have is None else [*gone(have)]
        return [*present(goal, goal.want, have, self._account)]

    def send(self, call: Call) -> Operation | None:
        service = "application-autoscaling" if call.operation in scaling.OPERATIONS else "sagemaker"
        ask = getattr(self._account.clients[service], _method(call.operation))
        self._call.write(call.operation, lambda: ask(**call.document))
        if call.operation == "AddTags":
            self._tags.forget(call.document["ResourceArn"])
        return None

    def poll(self, operation: Operation) -> Operation:
        raise NotFound(f"SageMaker's endpoints have no operations: {operation.id}")

    def list(self, stack: str | None) -> Iterator[State]:
        """Every endpoint of which anything is left: itself, a configuration or a model."""
        rows = [
            *self._listed("list_endpoint_configs", "EndpointConfigs", "EndpointConfig"),
            *self._listed("list_models", "Models", "Model"),
        ]
        labels = [self._tags.of(arn) for _, arn, _ in self._listed("list_endpoints", "Endpoints", "Endpoint")]
        labels += [self._tags.fixed(arn, created) for _, arn, created in rows]
        keys = {
            (each[STACK], each[ID]) for each in labels if each.get(KIND) == "endpoint" and {STACK, ID} <= each.keys()
        }
        for owner, name in sorted(keys):
            state = self.observe(Key("endpoint", name, owner), None) if stack in (None, owner) else None
            if state is not None and state.owner == owner:
                yield state

    def reach(self, key: Key) -> State:
        """Its name is all that a request needs: descriptions are limited to some in a second for a whole account."""
        return State(key, Phase.UNKNOWN, owner=None, id=key.name)

    def invoke(self, have: State, body: Payload, deployment: str | None) -> Payload:
        asked: dict[str, Any] = {"EndpointName": have.key.name, "Body": body.body, "ContentType": body.content_type}
        lowered = {name.lower(): value for name, value in body.headers.items()}
        asked |= {member: lowered[header] for header, member in HEADERS.items() if header in lowered}
        asked |= {"Accept": lowered["accept"]} if "accept" in lowered else {}
        asked |= {"TargetVariant": deployment} if deployment else {}
        runtime = self._account.clients["sagemaker-runtime"]
        answer = self._call.read("InvokeEndpoint", lambda: _answered(runtime.invoke_endpoint(**asked)))
        return Payload(*answer)

    # -- what there is -----------------------------------------------------------------------------------------------

    def _state(self, key: Key, found: Mapping[str, Any], parts: Sequence[Part], want: specs.Endpoint | None) -> State:
        labels = self._tags.of(found["EndpointArn"])
        phase, current = PHASES.get(found["EndpointStatus"], Phase.UNKNOWN), found["EndpointConfigName"]
        config = next((part for part in parts if part.kind == "config" and part.name == current), None)
        models, running = config.facts["models"] if config else {}, found.get("ProductionVariants", ())
        shadows = found.get("ShadowProductionVariants", ())
        specs_of = {part.name: part.spec for part in parts if part.kind == "model"}
        weights = weights_of(running)
        failure = self._failure(key, found, phase, parts, want)
        failed = failure if phase.failed else None
        deployments = [
            Part("deployment", name, f"{key.name}/{name}", phase, specs_of.get(models.get(name, "")), failed)
            for name in ({**weights, **weights_of(shadows)} if weights else models)
        ]
        return State(
            key=key,
            phase=phase,
            owner=labels.get(STACK) if labels.get(ID) == key.name else None,
            spec=config.spec if config else None,
            id=key.name,
            parts=(*parts, *deployments),
            failure=failure,
            labels=labels,
            facts={
                "url": f"https://{self._runtime_host()}/endpoints/{key.name}",
                "traffic": percent(weights),
                "config": current,
                "weights": weights,
                "mirror": mirror_of(shadows, weights),
                "counts": {each["VariantName"]: each.get("DesiredInstanceCount") for each in (*running, *shadows)},
                "types": config.facts["types"] if config else {},
                "capture": config.facts["capture"] if config else 0.0,
            },
            created=found["CreationTime"].timestamp(),
            native=found,
        )

    def _runtime_host(self) -> str:
        return f"runtime.sagemaker.{self._account.region}.{suffix(self._account.region)}"

    def _failure(
        self, key: Key, found: Mapping[str, Any], phase: Phase, parts: Sequence[Part], want: specs.Endpoint | None
    ) -> Failure | None:
        """Why it failed; and why it does not run the wanted configuration, though that is there.

        An update that SageMaker rolled back leaves no other trace than the log of what did not start.
        """
        if phase.failed or phase is Phase.DEGRADED:
            reason = found.get("FailureReason") or "SageMaker gave no reason"
            return Failure("\n".join(filter(None, (reason, self._last_words(key.name)))))
        wanted = config_name(key.name, want) if want else None
        made = any(part.kind == "config" and part.name == wanted for part in parts)
        if phase is not Phase.READY or not made or found["EndpointConfigName"] == wanted:
            return None
        said = self._last_words(key.name)
        return Failure(said) if said else None

    def _last_words(self, endpoint: str) -> str:
        """The last lines of an endpoint's youngest log stream."""
        logs, group = self._account.clients["logs"], f"/aws/sagemaker/Endpoints/{endpoint}"
        asked = {"logGroupName": group, "orderBy": "LastEventTime", "descending": True, "limit": 1}
        found = self._call.find("DescribeLogStreams", lambda: logs.describe_log_streams(**asked))
        streams = (found or {}).get("logStreams", ())
        lines: list[str] = []
        for each in streams:
            name = {"logGroupName": group, "logStreamName": each["logStreamName"], "limit": LINES}
            events = self._call.read("GetLogEvents", partial(logs.get_log_events, **name))["events"]
            lines += [f"{each['logStreamName']}: ", *(event["message"].rstrip() for event in events)]
        return "\n".join(lines)

    def _configs(self, endpoint: str) -> Iterator[Part]:
        for name, arn, created in self._listed("list_endpoint_configs", "EndpointConfigs", "EndpointConfig", endpoint):
            labels = self._tags.fixed(arn, created)
            if labels.get(KIND) == "endpoint" and labels.get(ID) == endpoint:
                yield Part(
                    "config", name, arn, Phase.READY, labels.get(HASH), facts=self._config(name, created, labels)
                )

    def _config(self, name: str, created: datetime, labels: Mapping[str, str]) -> dict[str, Any]:
        """What a configuration holds; it never changes, so it is asked for once."""
        if (name, created) not in self._known:
            found = self._find("DescribeEndpointConfig", EndpointConfigName=name)
            if found is None:
                return {"owner": labels.get(STACK), "models": {}, "types": {}, "capture": 0.0}
            self._known[name, created] = found
        config = self._known[name, created]
        capture = config.get("DataCaptureConfig", {})
        share = capture.get("InitialSamplingPercentage", 0) / 100 if capture.get("EnableCapture") else 0.0
        variants = (*config["ProductionVariants"], *config.get("ShadowProductionVariants", ()))
        models = {each["VariantName"]: each["ModelName"] for each in variants}
        types = {each["VariantName"]: each.get("InstanceType") for each in variants}
        return {"owner": labels.get(STACK), "models": models, "types": types, "capture": share}

    def _models(self, endpoint: str) -> Iterator[Part]:
        for name, arn, created in self._listed("list_models", "Models", "Model", endpoint):
            labels = self._tags.fixed(arn, created)
            if labels.get(KIND) == "endpoint" and labels.get(ID) == endpoint:
                yield Part("model", name, arn, Phase.READY, labels.get(HASH), facts={"owner": labels.get(STACK)})

    def _scaling(self, endpoint: str, parts: Sequence[Part]) -> Iterator[Part]:
        """The scalable targets of all variants that any configuration names."""
        variants = {name for part in parts if part.kind == "config" for name in part.facts["models"]}
        return scaling.observed(self._account.clients, self._call, endpoint, variants)

    def _find(self, operation: str, **asked: str) -> dict[str, Any] | None:
        ask = getattr(self._account.clients["sagemaker"], _method(operation))
        return self._call.find(operation, lambda: ask(**asked))

    def _listed(self, operation: str, member: str, what: str, endpoint: str = "") -> Sequence[Listed]:
        """Name, ARN and time of creation of those whose name begins with an endpoint's, or of all; oldest first."""
        asked = {"NameContains": f"{endpoint}-"} if endpoint else {}
        asked |= {"SortBy": "CreationTime", "SortOrder": "Ascending"}
        sagemaker = self._account.clients["sagemaker"]
        found = self._call.read(operation, lambda: [*pages(sagemaker, operation, member, MaxResults=100, **asked)])
        rows = [(each[f"{what}Name"], each[f"{what}Arn"], each["CreationTime"]) for each in found]
        return [row for row in rows if row[0].startswith(f"{endpoint}-" if endpoint else "")]


def _method(operation: str) -> str:
    """The client's method for an operation."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in operation).lstrip("_")


def _answered(response: Mapping[str, Any]) -> tuple[bytes, str, dict[str, str]]:
    """The body, read within the call; its type; and what the model said in its own headers."""
    names = {
        "CustomAttributes": "x-amzn-sagemaker-custom-attributes",
        "InvokedProductionVariant": "x-cloudml-deployment",
    }
    headers = {header: str(response[member]) for member, header in names.items() if response.get(member)}
    return response["Body"].read(), response.get("ContentType", "application/octet-stream"), headers
