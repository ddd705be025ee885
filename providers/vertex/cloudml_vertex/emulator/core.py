"""One core behind both fronts: a method's name and its message in, a message out."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from google.cloud import aiplatform_v1, resourcemanager_v3
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2

from cloudml.emulation.faults import Faults, Trouble
from cloudml_vertex.emulator import checks
from cloudml_vertex.emulator.operations import Operations
from cloudml_vertex.emulator.problems import Lost, Problem
from cloudml_vertex.emulator.world import World, page

ROUTES: Mapping[str, Any] = json.loads((Path(__file__).parent / "routes.json").read_text())
PACKAGE = "/google.cloud.aiplatform.v1."
LONGRUNNING = "/google.longrunning.Operations/"
PROJECTS = "/google.cloud.resourcemanager.v3.Projects/"
WORDS = re.compile(r"(?<!^)(?=[A-Z])")
UNLOCKED = ("Predict", "RawPredict")  # they wait for a model, and change nothing
# Where a request says what it is about, the most telling field first.
TARGETS = (
    *("name", "endpoint_id", "endpoint", "parent_model", "model_id", "model", "custom_job"),
    *("model_deployment_monitoring_job", "parent"),
)
T = TypeVar("T")
REFUSALS: Mapping[Trouble, tuple[str, str]] = {
    Trouble.THROTTLE: (
        "RESOURCE_EXHAUSTED",
        "Quota exceeded for quota metric 'Requests' and limit 'Requests per minute' of aiplatform.googleapis.com.",
    ),
    Trouble.UNAVAILABLE: ("UNAVAILABLE", "The service is currently unavailable."),
    Trouble.DENY: (
        "PERMISSION_DENIED",
        "Permission denied by IAM on the resource (or it may not exist).",
    ),
    Trouble.QUOTA: (
        "RESOURCE_EXHAUSTED",
        "The following quota metrics exceed quota limits: aiplatform.googleapis.com/custom_model_training_cpus",
    ),
}


@dataclass(frozen=True)
class Method:
    """``request`` is the class of its message; ``act`` carries it out."""

    name: str
    request: Any
    act: Callable[[Any], Any]


class Core:
    """``services`` have a method of each name, in snake case."""

    def __init__(self, world: World, operations: Operations, faults: Faults, services: tuple[Any, ...]) -> None:
        self._world = world
        self._operations = operations
        self._faults = faults
        self._counting = threading.Lock()
        self.calls: Counter[str] = Counter()  # by method
        self.methods: dict[str, Method] = {}
        for path in ROUTES:
            name = path.rpartition("/")[2]
            act = _of(services, WORDS.sub("_", name).lower())
            self.methods[PACKAGE + path] = Method(name, getattr(aiplatform_v1, f"{name}Request").pb(), act)
        for name, kind, act in (
            ("GetOperation", operations_pb2.GetOperationRequest, lambda ask: operations.read(ask.name)),
            ("WaitOperation", operations_pb2.WaitOperationRequest, lambda ask: operations.read(ask.name)),
            ("ListOperations", operations_pb2.ListOperationsRequest, self._list),
            ("CancelOperation", operations_pb2.CancelOperationRequest, self._keep),
            ("DeleteOperation", operations_pb2.DeleteOperationRequest, self._keep),
        ):
            self.methods[LONGRUNNING + name] = Method(name, kind, act)
        asked = resourcemanager_v3.GetProjectRequest.pb()
        self.methods[PROJECTS + "GetProject"] = Method("GetProject", asked, _of(services, "get_project"))

    def call(self, path: str, message: Any) -> Any:
        """Raises Problem, and Lost where the answer is not to arrive. The answer is a copy."""
        method = self.methods.get(path)
        if method is None:
            raise Problem("UNIMPLEMENTED", f"{path} is not emulated.")
        checks.check(message)
        return self.disturbed(method.name, _target(message), lambda: self._act(method, message))

    def disturbed(self, name: str, target: str, act: Callable[[], T]) -> T:
        """What ``act`` gives, unless a fault is ordered for the method on that target. Raises Problem, Lost."""
        self.count(name)
        fault = self._faults.take(name, target, *REFUSALS, Trouble.SLOW, Trouble.LOSE)
        if fault and fault.trouble in REFUSALS:
            raise Problem(*REFUSALS[fault.trouble])
        if fault and fault.trouble is Trouble.SLOW:
            time.sleep(fault.seconds)
        found = act()
        if fault and fault.trouble is Trouble.LOSE:
            raise Lost(name)
        return found

    def count(self, name: str) -> None:
        with self._counting:
            self.calls[name] += 1

    def _act(self, method: Method, message: Any) -> Any:
        if method.name in UNLOCKED:
            return method.act(message)
        with self._world.lock:
            answer = method.act(message)
            found = type(answer)()
            found.CopyFrom(answer)
            return found

    def _list(self, request: Any) -> Any:
        found, token = page(request, self._operations.under(request.name))
        return operations_pb2.ListOperationsResponse(operations=found, next_page_token=token)

    def _keep(self, request: Any) -> Any:
        """Cancelling is best effort, and an operation stays where it is."""
        self._operations.read(request.name)
        return empty_pb2.Empty()


def _of(services: tuple[Any, ...], name: str) -> Callable[[Any], Any]:
    found: Callable[[Any], Any] = next(getattr(service, name) for service in services if hasattr(service, name))
    return found


def _target(message: Any) -> str:
    """What a fault may name: the last part of the resource, or the name that it is to have."""
    for field in TARGETS:
        value = getattr(message, field, "")
        text = value if isinstance(value, str) else value.name or value.display_name
        if text:
            return str(text).rpartition("/")[2]
    return ""
