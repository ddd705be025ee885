"""SageMaker's runtime on the wire: calls of an endpoint, which a container answers."""

from __future__ import annotations

import http.client
import json
import random
import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import unquote

from cloudml.emulation.faults import Trouble
from cloudml_sagemaker.emulator import endpoints
from cloudml_sagemaker.emulator.accounts import Scope, World
from cloudml_sagemaker.emulator.capture import Side
from cloudml_sagemaker.emulator.fleets import Fleet, Instance, Variant
from cloudml_sagemaker.emulator.front import Answer, Request
from cloudml_sagemaker.emulator.problems import DEFECTS, Lost, Refused, defect, outside
from cloudml_sagemaker.emulator.recording import recorder
from cloudml_sagemaker.emulator.shapes import compiled, service
from cloudml_sagemaker.emulator.telemetry import ENDPOINTS
from cloudml_sagemaker.emulator.wire import ordered

PATH = re.compile(r"/endpoints/([^/]+)/(invocations|async-invocations|invocations-response-stream)")
LARGEST = 6_291_456  # bytes, both ways
TIMEOUT = 60.0  # seconds for an answer
HEADER = "x-amzn-sagemaker-"
PLAIN = "application/octet-stream"
# What a container is told of a call; nothing else of the client's headers reaches it.
PASSED = ("content-type", "accept", *(HEADER + each for each in ("custom-attributes", "inference-id", "session-id")))
PASSED += (HEADER + "target-model", HEADER + "enable-explanations")
CHECKED = {HEADER + "custom-attributes": "CustomAttributes", HEADER + "inference-id": "InferenceId"}
CHECKED |= {HEADER + "target-variant": "TargetVariant", "content-type": "ContentType", "accept": "Accept"}
TIMED_OUT = "Your invocation timed out while waiting for a response from container primary. Review the latency metrics "
TIMED_OUT += "for each container in Amazon CloudWatch, resolve the issue, and try again."


@dataclass(frozen=True)
class Said:
    """What a container answered; status 0 is that it did not."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


class Runtime:
    """Answers InvokeEndpoint."""

    def __init__(self, world: World, account: Callable[[Request], str]) -> None:
        self._world, self._account = world, account

    def __call__(self, request: Request) -> Answer:
        headers = {"x-amzn-RequestId": str(uuid.uuid4())}
        try:
            answer = self._answer(request)
        except (Refused, *DEFECTS) as error:
            refused = error if isinstance(error, Refused) else defect(error)
            headers |= {"Content-Type": "application/json", "x-amzn-ErrorType": refused.code}
            return Answer(refused.status, headers, json.dumps({"Message": refused.message, **refused.more}).encode())
        return Answer(answer.status, {**headers, **answer.headers}, answer.body)

    def _answer(self, request: Request) -> Answer:
        account = self._account(request)
        signer = request.signer
        match = PATH.fullmatch(request.path)
        if not match or request.method != "POST":
            raise Refused("UnknownOperationException", f"There is no {request.method} {request.path}", 404)
        if match[2] != "invocations":
            raise outside("InvokeEndpointAsync" if match[2].startswith("async") else "InvokeEndpointWithResponseStream")
        name = unquote(match[1])
        self._world.count(account, "InvokeEndpoint")
        fault = ordered(self._world, "InvokeEndpoint", name)
        scope = self._world.scope(account, signer.region if signer else "")
        _check(request, name)
        if self._world.site.faults.take("InvokeEndpoint", name, Trouble.CAPACITY):
            raise Refused("ModelNotReadyException", "The model is not ready to be called.", 429)
        answer = _invoke(scope, name, request)
        if fault and fault.trouble is Trouble.LOSE:
            raise Lost
        return answer


def _check(request: Request, name: str) -> None:
    members = service("sagemaker-runtime").operation_model("InvokeEndpoint").input_shape.members
    given = {member: request.headers[header] for header, member in CHECKED.items() if header in request.headers}
    for member, text in {"EndpointName": name, **given}.items():
        rules = members[member].metadata
        pattern = rules.get("pattern")
        if len(text) > rules.get("max", len(text)) or (pattern and not compiled(pattern).fullmatch(text)):
            raise Refused("ValidationError", f"Value '{text}' at '{member}' is not valid: {rules}")
    if HEADER + "target-container-hostname" in request.headers or HEADER + "inference-component" in request.headers:
        raise outside("a container of several, or an inference component, as the target of InvokeEndpoint")
    if len(request.body) > LARGEST:
        raise Refused("413", f"HTTP content length exceeded {LARGEST} bytes.", 413)


def _invoke(scope: Scope, name: str, request: Request) -> Answer:
    record = recorder(scope)
    with scope.lock:
        endpoint = endpoints.serving(scope, name)
        fleet = endpoint.green if endpoint.green and random.random() < endpoint.share else endpoint.fleet
        if fleet is None:
            raise Refused("ValidationError", f"Endpoint {name} of account {scope.account} not found.")
        fleet.enter()
    try:
        variant = _variant(fleet, request.headers.get(HEADER + "target-variant"))
        began = time.monotonic()
        said = _ask(variant.next(), request)
        record.count(name, variant.name, said.status, said.seconds, time.monotonic() - began - said.seconds)
        _mirror(scope, fleet, request)
    finally:
        fleet.leave()
    if not 200 <= said.status < 300:
        raise _model_error(scope, name, variant, said)
    kind = said.headers.get("content-type", PLAIN)
    custom = said.headers.get(HEADER + "custom-attributes", "")
    _record(scope, fleet, variant, request, said)
    headers = {"Content-Type": kind, "x-Amzn-Invoked-Production-Variant": variant.name}
    return Answer(200, headers | ({"X-Amzn-SageMaker-Custom-Attributes": custom} if custom else {}), said.body)


def _record(scope: Scope, fleet: Fleet, variant: Variant, request: Request, said: Said) -> None:
    """Keeps one call of a variant, a shadow's too, where the configuration asks for it."""
    sides = {
        "Input": Side(request.headers.get("content-type", PLAIN), request.body),
        "Output": Side(said.headers.get("content-type", PLAIN), said.body),
    }
    inference, custom = (request.headers.get(HEADER + name, "") for name in ("inference-id", "custom-attributes"))
    recorder(scope).capture.add(fleet.config, fleet.endpoint, variant.name, sides, inference, custom)


def _variant(fleet: Fleet, target: str | None) -> Variant:
    """The named variant, or one by weight."""
    variants = [variant for variant in fleet.variants if not variant.shadow]
    if target is not None:
        named = [variant for variant in variants if variant.name == target]
        if not named:
            raise Refused("ValidationError", f"Variant {target} not found for Request")
        return named[0]
    weights = [variant.weight for variant in variants]
    if not any(weights):
        raise Refused("ValidationError", f"No variant of endpoint {fleet.endpoint} has a weight above 0.")
    return random.choices(variants, weights)[0]


def _ask(instance: Instance | None, request: Request) -> Said:
    """What the container answers."""
    if instance is None or instance.address is None:
        return Said(503, {}, b"the container is being started", 0.0)
    headers = {name: request.headers[name] for name in PASSED if name in request.headers}
    connection = http.client.HTTPConnection(*instance.address, timeout=TIMEOUT)
    began = time.monotonic()
    try:
        connection.request("POST", "/invocations", request.body, headers)
        answer = connection.getresponse()
        body = answer.read()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Said(answer.status, found, body, time.monotonic() - began)
    except TimeoutError:
        return Said(0, {}, TIMED_OUT.encode(), time.monotonic() - began)
    except (OSError, http.client.HTTPException):
        text = b"The connection to the container primary ended before it answered."
        return Said(0, {}, text, time.monotonic() - began)
    finally:
        connection.close()


def _mirror(scope: Scope, fleet: Fleet, request: Request) -> None:
    """A shadow variant gets a copy, according to its weight against the production variant; nobody sees the answer."""
    production = sum(variant.weight for variant in fleet.variants if not variant.shadow)
    for variant in fleet.variants:
        if variant.shadow and random.random() * max(production, 1e-9) < variant.weight:
            fleet.enter()
            scope.world.spawn("shadow", partial(_shadowed, scope, fleet, variant, request))


def _shadowed(scope: Scope, fleet: Fleet, variant: Variant, request: Request) -> None:
    try:
        said = _ask(variant.next(), request)
        recorder(scope).count(fleet.endpoint, variant.name, said.status, said.seconds, 0.0)
        if 200 <= said.status < 300:
            _record(scope, fleet, variant, request, said)
    finally:
        fleet.leave()


def _model_error(scope: Scope, name: str, variant: Variant, said: Said) -> Refused:
    kind = "client" if 400 <= said.status < 500 else "server"
    text = said.body.decode(errors="replace")
    console = f"https://{scope.region}.console.aws.amazon.com/cloudwatch/home?region={scope.region}"
    place = f"{console}#logEventViewer:group={ENDPOINTS}/{name} in account {scope.account} for more information."
    message = f'Received {kind} error ({said.status}) from primary with message "{text[:1024]}". See {place}'
    more: dict[str, Any] = {
        "OriginalMessage": text,
        "OriginalStatusCode": said.status,
        "LogStreamArn": f"arn:aws:logs:{scope.region}:{scope.account}:log-group:{ENDPOINTS}/{name}",
    }
    return Refused("ModelError", message, 424, more)
