"""Values of ours as JSON, with what must not be shown hidden; what ``-o json`` and ``-o yaml`` print."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloudml.handles import ModelVersion
    from cloudml.plan import Step
    from cloudml.spi import Call
    from cloudml.states import Key, State

SCHEMA_VERSION = 1
SECRET = re.compile(
    r"secret|password|passwd|credential|(^|_|access|auth|session)token$|(api|account|access)_?key$|connection_?string|^sig$",
    re.IGNORECASE,
)
SIGNED = re.compile(
    r"([?&](?:sig|signature|x-amz-signature|x-amz-credential|x-amz-security-token|x-goog-signature|token)=)[^&\s]+",
    re.IGNORECASE,
)
HIDDEN = "***"
VERBS = {"+": "create", "~": "change", "-": "delete"}


def versioned(document: Mapping[str, Any]) -> dict[str, Any]:
    return {"schema_version": SCHEMA_VERSION, **{name: plain(value) for name, value in document.items()}}


def as_json(document: Mapping[str, Any]) -> str:
    return json.dumps(versioned(document), indent=2, ensure_ascii=False)


def as_yaml(document: Mapping[str, Any]) -> str:
    import yaml

    text: str = yaml.safe_dump(versioned(document), sort_keys=False, allow_unicode=True)
    return text.rstrip("\n")


def plain(value: Any, name: str = "") -> Any:
    """Any value of ours as JSON: dataclasses as maps, enums as their values, secrets hidden."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): plain(inner, str(key)) for key, inner in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        own = {each.name: plain(getattr(value, each.name), each.name) for each in fields(value)}
        return str(value) if type(value).__str__ is not object.__str__ else own
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner, name) for inner in value]
    if isinstance(value, str):
        return HIDDEN if name and SECRET.search(name) and not value.startswith("${secret:") else unsigned(value)
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def unsigned(text: str) -> str:
    """An address without its signature."""
    return SIGNED.sub(rf"\1{HIDDEN}", text) if "=" in text else text


def state_document(state: State, models: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A state; of an endpoint also the model version that each deployment serves, where that is given."""
    own = {each.name: plain(getattr(state, each.name), each.name) for each in fields(state) if each.name != "key"}
    served = {"models": dict(models)} if models else {}
    return {**key_document(state.key), **own, **served, "stack": state.owner or state.key.stack}


def key_document(key: Key) -> dict[str, Any]:
    return {"kind": key.kind, "name": key.name, "stack": key.stack}


def version_document(version: ModelVersion) -> dict[str, Any]:
    names = ("family", "version", "hash", "aliases", "approval", "archived", "uri", "created", "metrics")
    return {name: plain(getattr(version, name), name) for name in names}


def whole_version_document(version: ModelVersion, sidecar: Mapping[str, Any]) -> dict[str, Any]:
    """The same with what its sidecar says: features, lineage, when it was registered."""
    named = {name: plain(sidecar.get(name), name) for name in ("inputs", "lineage")}
    return {**version_document(version), **named}


def step_document(step: Step) -> dict[str, Any]:
    have = step.have.phase.value if step.have else None
    return {
        **key_document(step.key),
        "have": have,
        "note": step.note,
        "calls": [call_document(call) for call in step.calls],
    }


def call_document(call: Call) -> dict[str, Any]:
    effect = VERBS[call.effect.value]
    return {**{each.name: plain(getattr(call, each.name)) for each in fields(call)}, "effect": effect}


def error_document(error: BaseException, message: str, hint: str | None, code: int) -> dict[str, Any]:
    names = ("where", "provider", "operation", "request_id", "status")
    known = {name: getattr(error, name) for name in names if getattr(error, name, None) is not None}
    inner = [{"message": str(each), "where": each.where, "hint": each.hint} for each in getattr(error, "errors", ())]
    body = {"type": type(error).__name__, "message": message, "hint": hint, "where": None, "exit_code": code, **known}
    return {"error": {**body, **({"errors": inner} if inner else {})}}
