"""Requests against the rules that Google publishes with its protos: required, immutable and output-only fields.

``annotations.json`` holds them for what is emulated, made from the protos of ``@google-cloud/aiplatform`` (Apache-2.0)
in November 2026. Required strings, messages and lists are enforced; numbers are not, since an unset one is a zero.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from google.cloud import aiplatform_v1

from cloudml_vertex.emulator.problems import Problem, invalid, wrong_fields

PACKAGE = "google.cloud.aiplatform.v1."
RULES: Mapping[str, Mapping[str, Sequence[str]]] = json.loads((Path(__file__).parent / "annotations.json").read_text())
LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
DISPLAY = 128  # characters
LABELS = 64


def check(message: Any) -> None:
    """Raises Problem with every required field that is missing."""
    missing = [(path, "Required field is not set.") for path in _missing(message, "")]
    if missing:
        raise wrong_fields(*missing)


def drop_outputs(message: Any) -> None:
    """What only the service writes is not taken from a request."""
    for field in RULES["output_only"].get(message.DESCRIPTOR.full_name.removeprefix(PACKAGE), ()):
        message.ClearField(field)


def check_labels(labels: Mapping[str, str]) -> None:
    if len(labels) > LABELS:
        raise wrong_fields(("labels", f"There must be at most {LABELS} labels."))
    for key, value in labels.items():
        if not LABEL_KEY.fullmatch(key) or not LABEL_VALUE.fullmatch(value):
            text = "Label keys and values can only contain lowercase letters, numbers, dashes and underscores."
            raise wrong_fields((f"labels[{key!r}]", text))


def check_display(name: str) -> None:
    if not name or len(name) > DISPLAY:
        raise wrong_fields(("display_name", f"The display name must be 1 to {DISPLAY} characters long."))


def check_name(name: str, pattern: str, field: str) -> None:
    if not re.fullmatch(pattern, name):
        raise wrong_fields((field, f"{name!r} does not match {pattern}"))


def masked(kind: str, mask: Sequence[str]) -> Sequence[str]:
    """The fields of an update mask, in the proto's words. Raises Problem for none, and for one that cannot change."""
    if not mask:
        raise wrong_fields(("update_mask", "Required field is not set."))
    fields = [snake(path) for path in mask]
    known = getattr(aiplatform_v1, kind).pb().DESCRIPTOR.fields_by_name
    fixed = {*RULES["immutable"].get(kind, ()), *RULES["output_only"].get(kind, ())}
    for field in fields:
        if field not in known:
            raise invalid(f"The update mask names {field!r}, which {kind} does not have.")
        if field in fixed:
            raise Problem("INVALID_ARGUMENT", f"The field {field!r} of {kind} is immutable or output only.")
    return fields


def _missing(message: Any, path: str, asked: Collection[str] | None = None) -> Iterator[str]:
    """``asked``: of what is updated, the fields that the mask names; gcloud leaves out all others, required or not."""
    descriptor = message.DESCRIPTOR
    fields = {field.name: field for field in descriptor.fields}
    for name in RULES["required"].get(descriptor.full_name.removeprefix(PACKAGE), ()):
        if asked is not None and name not in asked:
            continue
        field = fields[name]
        single = field.message_type is not None and not field.is_repeated
        text = field.is_repeated or field.cpp_type == field.CPPTYPE_STRING  # a number's zero is no missing number
        if (single and not message.HasField(name)) or (text and not getattr(message, name)):
            yield f"{path}{name}"
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for index, each in enumerate(value if field.is_repeated else [value]):
            place = f"{field.name}[{index}]" if field.is_repeated else field.name
            yield from _missing(each, f"{path}{place}.", _asked(message))


def _asked(request: Any) -> Collection[str] | None:
    """What an update's mask names, in the proto's words; None for any other message."""
    if "update_mask" not in request.DESCRIPTOR.fields_by_name or not request.update_mask.paths:
        return None
    return {snake(path.partition(".")[0]) for path in request.update_mask.paths}


def snake(name: str) -> str:
    """In the proto's words."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
