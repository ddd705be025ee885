"""SageMaker's control plane on the wire: JSON 1.1, one operation per request, named by ``X-Amz-Target``."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from cloudml.emulation.faults import Fault, Trouble
from cloudml_sagemaker.emulator import shapes, tags
from cloudml_sagemaker.emulator.accounts import Scope, World
from cloudml_sagemaker.emulator.front import Answer, Request
from cloudml_sagemaker.emulator.problems import DEFECTS, Lost, Refused, defect, limit, outside

Operation = Callable[[Scope, dict[str, Any]], Mapping[str, Any] | None]
HOST = re.compile(r"api\.sagemaker\.([a-z0-9-]+)\.amazonaws\.com(:\d+)?")
TYPE = "application/x-amz-json-1.1"
# The member that names what an operation works on, for faults that are ordered for one target.
NAMES = (
    *("TrainingJobName", "EndpointName", "EndpointConfigName", "ModelName", "ModelPackageName"),
    *("ModelPackageArn", "ModelPackageGroupName", "MonitoringScheduleName", "ResourceArn"),
)


class Control:
    """Answers requests by a table of operations, whose requests and answers are checked against botocore's model."""

    def __init__(self, world: World, operations: Mapping[str, Operation], account: Callable[[Request], str]) -> None:
        self._world, self._operations, self._account = world, operations, account
        self._model = shapes.service("sagemaker")

    def __call__(self, request: Request) -> Answer:
        id = str(uuid.uuid4())
        headers = {"Content-Type": TYPE, "x-amzn-RequestId": id}
        try:
            document = self._answer(request)
        except (Refused, *DEFECTS) as error:
            refused = error if isinstance(error, Refused) else defect(error)
            body = {"__type": refused.code, "message": refused.message, **refused.more}
            return Answer(refused.status, headers, json.dumps(body).encode())
        return Answer(200, headers, json.dumps(document).encode() if document is not None else b"")

    def _answer(self, request: Request) -> Mapping[str, Any] | None:
        account = self._account(request)
        region = _region(request)
        name = request.headers.get("x-amz-target", "").rpartition(".")[2]
        if name not in self._model.operation_names:
            raise Refused("UnknownOperationException", f"There is no operation {name!r}.")
        if name not in self._operations:
            raise outside(name)
        self._world.count(account, name)
        given = _document(request.body)
        target = next((str(given[each]) for each in NAMES if each in given), "")
        fault = ordered(self._world, name, target, _machines(given) or f"{name} requests")
        model = self._model.operation_model(name)
        shapes.check_request(model, given)
        tags.check(given.get("Tags", ()))
        given = {member: value for member, value in given.items() if value is not None}
        answer = self._operations[name](self._world.scope(account, region), given)
        if model.output_shape:
            shapes.check_answer(model, answer)
        if fault and fault.trouble is Trouble.LOSE:
            raise Lost
        return answer


def _machines(given: Mapping[str, Any]) -> str:
    """The quota that a request would need."""
    if kind := (given.get("ResourceConfig") or {}).get("InstanceType"):
        return f"{kind} for training job usage"
    variants = given.get("ProductionVariants") or [{}]
    return f"{variants[0]['InstanceType']} for endpoint usage" if variants[0].get("InstanceType") else ""


def ordered(world: World, operation: str, target: str, quota: str = "") -> Fault | None:
    """Meets the faults that are ordered for every kind of call. Raises Refused for those that refuse it."""
    troubles = (Trouble.THROTTLE, Trouble.UNAVAILABLE, Trouble.SLOW, Trouble.LOSE, Trouble.QUOTA, Trouble.DENY)
    fault = world.site.faults.take(operation, target, *troubles)
    match fault and fault.trouble:
        case Trouble.THROTTLE:
            raise Refused("ThrottlingException", "Rate exceeded")
        case Trouble.UNAVAILABLE:
            raise Refused("ServiceUnavailable", "Service is unavailable", 503)
        case Trouble.DENY:
            said = f"The caller is not authorized to perform: sagemaker:{operation} because no identity-based policy"
            raise Refused("AccessDeniedException", f"{said} allows the sagemaker:{operation} action")
        case Trouble.QUOTA:
            raise limit(quota or f"{operation} requests", 1)
        case Trouble.SLOW if fault:
            world.sleep(fault.seconds)
    return fault


def _region(request: Request) -> str:
    """The region of the host, which is that of the signature."""
    signer = request.signer
    signed = signer.region if signer else ""
    match = HOST.fullmatch(request.host)
    if match and match[1] != signed:
        message = f"Credential should be scoped to a valid region, not '{signed}'."
        raise Refused("InvalidSignatureException", message, 403)
    return signed


def _document(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body or b"{}")
    except ValueError as error:
        raise Refused("SerializationException", "The request is not JSON") from error
    if not isinstance(given, dict):
        raise Refused("SerializationException", "The request is not a JSON object")
    return given
