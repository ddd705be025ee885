"""What pydantic finds wrong with a spec, in people's words, at the place in the file where it is written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from cloudml.config.nodes import Node, Position
from cloudml.config.problems import Problems, did_you_mean
from cloudml.specs import FORMS

KEY = "[key]"  # pydantic's mark that a map's key is meant, not its value
EXPECTED = {
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a map",
    "model_type": "a map",
    "model_attributes_type": "a map",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
}
ORDER = list(dict.fromkeys(EXPECTED.values()))
LIMITS = {
    "greater_than": "must be over {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be under {lt}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
}
_NAME = "small letters, digits and single hyphens, beginning with a letter: 'fraud-api'"
# What the keys of these maps look like; specs.FORMS says what values do.
KEYS = {
    "jobs": _NAME,
    "models": _NAME,
    "endpoints": _NAME,
    "deployments": _NAME,
    "inputs": "small letters, digits and underscores, beginning with a letter: 'train_data'",
    "params": "letters, digits and underscores, beginning with a letter: 'learning_rate'",
    "env": "letters, digits and underscores, not beginning with a digit: 'LOG_LEVEL'",
}
VALUES = FORMS | {"project": _NAME}


def report(
    error: ValidationError,
    model: type[BaseModel] | None,
    node: Node,
    path: tuple[str, ...],
    problems: Problems,
    whole: bool = True,
) -> None:
    """Adds every error of a value to ``problems``; ``path`` leads from the file's root to ``node``.

    ``whole=False`` leaves out what is wrong with the value as a whole, for where its cause has been told already.
    """
    groups: dict[tuple[Position, tuple[str | int, ...]], list[tuple[ErrorDetails, Node]]] = {}
    for each in error.errors(include_url=False):
        if not each["loc"] and not whole:
            continue
        at, inner, there = _place(each, node)
        groups.setdefault((at, inner), []).append((each, there))
    for (at, inner), found in groups.items():
        full = (*path, *inner)
        for message, hint in _said([each for each, _ in found], full, inner, found[0][1], model):
            problems.add(message, at, hint)


def found(value: Any) -> str:
    """A value as the file's author sees it."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case str():
            return f"the text {value if len(value) <= 40 else value[:37] + '...'!r}"
        case list():
            return "a list"
    return "a map"


def dotted(path: Sequence[str | int]) -> str:
    """``("gates", 0)`` as ``gates[0]``."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def _place(error: ErrorDetails, node: Node) -> tuple[Position, tuple[str | int, ...], Node]:
    """Where an error stands: the position, the path to it from the node, and the deepest node on it.

    What follows in pydantic's path is the name of a union's member, or a key that is missing.
    """
    loc = error["loc"]
    if error["type"] != "missing" and loc[:1] == ("deployments",):
        loc = _short_form(loc, node)
    here = node
    walked: list[str | int] = []
    for step in loc:
        if (inner := here.get(step)) is None:
            break
        here, walked = inner, [*walked, step]
    if error["type"] == "missing":
        return here.key or here.at, (*walked, loc[-1]), here
    at = here.key if KEY in loc or error["type"] == "extra_forbidden" or here is node else None
    return at or here.at, tuple(walked), here


def _short_form(loc: tuple[str | int, ...], node: Node) -> tuple[str | int, ...]:
    """What an endpoint says for all its deployments stands at the endpoint itself."""
    deployment = node.get(*loc[:2])
    return loc[2:] if len(loc) > 2 and (deployment is None or deployment.get(loc[2]) is None) else loc


def _said(
    errors: list[ErrorDetails],
    full: tuple[str | int, ...],
    inner: tuple[str | int, ...],
    there: Node,
    model: type[BaseModel] | None,
) -> Iterator[tuple[str, str | None]]:
    """Message and hint of all errors at one place; those of a union's members become one."""
    name, form = dotted(full), _form(full, any(KEY in each["loc"] for each in errors))
    wanted = sorted({EXPECTED[each["type"]] for each in errors if each["type"] in EXPECTED}, key=ORDER.index)
    if "a number" in wanted and "a whole number" in wanted:
        wanted.remove("a whole number")
    others = [each for each in errors if each["type"] not in EXPECTED]
    if wanted and not others:
        quotes = "put it in quotes" if "text" in wanted and isinstance(there.value, int | float) else None
        yield f"{name} must be {' or '.join(wanted)}, found {found(there.value)}", quotes or form
        return
    for each in others:
        yield _one(each, name, inner, there, model, form)


def _one(
    error: ErrorDetails,
    name: str,
    inner: tuple[str | int, ...],
    there: Node,
    model: type[BaseModel] | None,
    form: str | None,
) -> tuple[str, str | None]:
    context = error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            known = keys(model, inner[:-1]) if model else []
            return f"unknown key {inner[-1]!r} in {name.rpartition('.')[0]}", did_you_mean(str(inner[-1]), known)
        case "missing":
            return f"{name} is missing", None
        case "value_error":
            return f"{name}: {context['error']}", None
        case "string_pattern_mismatch":
            wrong = inner[-1] if KEY in error["loc"] else there.value
            return f"{name}: {wrong!r} is not a valid value", form
        case "literal_error":
            options = re.findall(r"'([^']*)'", context["expected"])
            hint = did_you_mean(str(there.value), options)
            return f"{name} must be {context['expected']}, found {found(there.value)}", hint
        case kind if kind in LIMITS:
            limits = {key: f"{value:g}" if isinstance(value, float) else value for key, value in context.items()}
            return f"{name} {LIMITS[kind].format(**limits)}, found {found(there.value)}", form
    return f"{name}: {error['msg'][:1].lower()}{error['msg'][1:]}", form


def _form(path: Sequence[str | int], key: bool) -> str | None:
    """What a valid key, or a valid value, looks like there."""
    names = [step for step in path if isinstance(step, str)]
    if key or len(names) == 2:  # two names are a resource and its own name
        return KEYS.get(names[-2]) if len(names) > 1 else None
    return VALUES.get(names[-1])


def keys(model: Any, path: Sequence[str | int]) -> list[str]:
    """The keys that a map of this model, or of the model that lies under ``path`` in it, may have."""
    kinds = list(_flat(model))
    for step in path:
        kinds = [inner for kind in kinds for inner in _under(kind, step)]
    return [
        field.alias or name
        for kind in kinds
        if isinstance(kind, type) and issubclass(kind, BaseModel)
        for name, field in kind.model_fields.items()
    ]


def takes(kind: Any, wanted: type) -> bool:
    """Whether an annotation is a type or a union with it."""
    return wanted in _flat(kind)


def _flat(kind: Any) -> Iterator[Any]:
    """The members of a union, without their annotations."""
    if get_origin(kind) is Annotated:
        yield from _flat(get_args(kind)[0])
    elif get_origin(kind) in (Union, UnionType):
        for member in get_args(kind):
            yield from _flat(member)
    else:
        yield kind


def _under(kind: Any, step: str | int) -> Iterator[Any]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            if step in (name, field.alias):
                yield from _flat(field.annotation)
    elif get_origin(kind) is dict:
        yield from _flat(get_args(kind)[1])
    elif get_origin(kind) in (list, tuple):
        yield from _flat(get_args(kind)[0])
