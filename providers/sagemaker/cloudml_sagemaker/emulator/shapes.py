"""Requests and answers against botocore's service model: types, required members, lengths, ranges, patterns, enums.

botocore itself checks required members and minimum lengths only; the cloud checks all of it, in these words.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Any

import botocore.session
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StringShape, StructureShape

from cloudml_sagemaker.emulator.problems import Refused, invalid

PROPERTY = re.compile(r"\\p\{(\w+)\}")
TYPES: dict[str, tuple[type, ...]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
    "string": (str,),
    "character": (str,),
    "blob": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float),
}
CLASSES = {"ASCII": r"\x00-\x7f", "Print": r"\x20-\x7e", "Alnum": "a-zA-Z0-9"}
# What the model's patterns have that Python spells otherwise: the end of the text, pairs of surrogates, a slip.
SPELLINGS = {r"\z": r"\Z", r"\uD800\uDC00-\uDBFF\uDFFF": r"\U00010000-\U0010FFFF", "${1,128}": "", "${1,256}": ""}
NUMBERS = ("integer", "long", "float", "double")


@cache
def service(name: str) -> ServiceModel:
    """What botocore knows of a service."""
    return botocore.session.get_session().get_service_model(name)


def check_request(operation: OperationModel, given: Any) -> None:
    """Raises Refused, as the cloud does, for a request that the model does not allow."""
    shape = operation.input_shape
    problems = [*_problems(shape, given, "")] if shape else []
    if problems:
        count = f"{len(problems)} validation error{'s' * (len(problems) > 1)} detected"
        raise invalid(f"{count}: {'; '.join(problems)}")


def check_answer(operation: OperationModel, answer: Any) -> None:
    """Raises AssertionError for an answer that is none of the model's: a defect of the emulator."""
    shape = operation.output_shape
    problems = [*_problems(shape, answer, "")] if shape else []
    if problems or (not shape and answer):
        raise AssertionError(f"{operation.name} answers what its model does not allow: {'; '.join(problems)}")


def _problems(shape: Shape, value: Any, path: str) -> Iterator[str]:
    kind = shape.type_name
    if type(value) not in TYPES[kind]:
        raise Refused("SerializationException", f"{path or 'The request'} is not of the type {kind}")
    if isinstance(shape, StructureShape):
        yield from _of_structure(shape, value, path)
    elif isinstance(shape, ListShape):
        yield from _of_length(shape, value, path)
        for index, each in enumerate(value, 1):
            yield from _problems(shape.member, each, f"{path}.{index}.member")
    elif isinstance(shape, MapShape):
        yield from _of_length(shape, value, path)
        for key, each in value.items():
            yield from _problems(shape.key, key, f"{path}.{key}.key")
            yield from _problems(shape.value, each, f"{path}.{key}.member")
    elif isinstance(shape, StringShape):
        yield from _of_string(shape, value, path)
    elif kind in NUMBERS:
        yield from _of_number(shape, value, path)


def _of_structure(shape: StructureShape, value: dict[str, Any], path: str) -> Iterator[str]:
    for name in shape.required_members:
        if value.get(name) is None:
            yield _failed("null", _below(path, name), "Member must not be null")
    for name, each in value.items():
        if name not in shape.members:
            yield f"{_below(path, name)!r} is not a member that this version of the API knows"
        elif each is not None:
            yield from _problems(shape.members[name], each, _below(path, name))
    if shape.is_tagged_union and sum(each is not None for each in value.values()) != 1:
        yield _failed(value, path, "Exactly one member must be set")


def _below(path: str, name: str) -> str:
    member = name[0].lower() + name[1:]
    return f"{path}.{member}" if path else member


def _of_length(shape: Shape, value: Any, path: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and len(value) < least:
        yield _failed(value, path, f"Member must have length greater than or equal to {least}")
    if most is not None and len(value) > most:
        yield _failed(value, path, f"Member must have length less than or equal to {most}")


def _of_string(shape: StringShape, value: str, path: str) -> Iterator[str]:
    yield from _of_length(shape, value, path)
    if shape.enum and value not in shape.enum:
        yield _failed(value, path, f"Member must satisfy enum value set: [{', '.join(shape.enum)}]")
    pattern = shape.metadata.get("pattern")
    if pattern and not compiled(pattern).fullmatch(value):
        yield _failed(value, path, f"Member must satisfy regular expression pattern: {pattern}")


def _of_number(shape: Shape, value: float, path: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and value < least:
        yield _failed(value, path, f"Member must have value greater than or equal to {least}")
    if most is not None and value > most:
        yield _failed(value, path, f"Member must have value less than or equal to {most}")


def _failed(value: Any, path: str, constraint: str) -> str:
    return f"Value '{value}' at '{path}' failed to satisfy constraint: {constraint}"


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern of the model, with Java's properties of characters written out."""
    for theirs, ours in SPELLINGS.items():
        pattern = pattern.replace(theirs, ours)
    return re.compile(_written_out(pattern), re.DOTALL)


def _written_out(pattern: str) -> str:
    result, inside, index = [], False, 0
    while index < len(pattern):
        match = PROPERTY.match(pattern, index)
        if match:
            result.append(_category(match[1]) if inside else f"[{_category(match[1])}]")
            index = match.end()
            continue
        char = pattern[index]
        step = 2 if char == "\\" else 1
        # A second [ within a class is a character like any other; Python warns of it.
        result.append("\\[" if inside and char == "[" else pattern[index : index + step])
        inside = (inside or char == "[") and char != "]"
        index += step
    return "".join(result)


@cache
def _category(name: str) -> str:
    """A category or class as ranges, for a character class; what lies above the first plane belongs to each."""
    if name in CLASSES:
        return CLASSES[name]
    ranges: list[list[int]] = []
    for code in range(0x10000):
        if unicodedata.category(chr(code)).startswith(name):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    ranges.append([0x10000, sys.maxunicode])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)
