"""Whether a document is what an operation takes: all that botocore's service model says, patterns and maxima too.

botocore itself checks required members, types and minimum lengths only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cache
from typing import Any

from botocore.session import get_session

KINDS: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "boolean": (bool,),
    "timestamp": (datetime,),
    "blob": (bytes,),
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
}


@cache
def service(name: str) -> Any:
    return get_session().get_service_model(name)


def problems(operation: str, document: Mapping[str, Any], of: str = "sagemaker") -> list[str]:
    """What is wrong with a request; empty if nothing is."""
    return list(_check(service(of).operation_model(operation).input_shape, dict(document), operation))


def answer_problems(operation: str, document: Mapping[str, Any], of: str = "sagemaker") -> list[str]:
    """What is wrong with an answer."""
    plain = {name: value for name, value in document.items() if name != "ResponseMetadata"}
    shape = service(of).operation_model(operation).output_shape
    if shape is None:
        return [f"{operation} answers nothing"] if plain else []
    return list(_check(shape, plain, operation))


def _check(shape: Any, value: Any, at: str) -> Iterator[str]:
    kinds = KINDS[shape.type_name]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        yield f"{at}: {value!r} is no {shape.type_name}"
        return
    yield from CHECKS[shape.type_name](shape, value, at)


def _structure(shape: Any, value: dict[str, Any], at: str) -> Iterator[str]:
    yield from (f"{at}.{name} is missing" for name in shape.required_members if name not in value)
    for name, inner in value.items():
        if name not in shape.members:
            yield f"{at}.{name} is not known"
        else:
            yield from _check(shape.members[name], inner, f"{at}.{name}")


def _list(shape: Any, value: list[Any], at: str) -> Iterator[str]:
    yield from _size(shape, len(value), at)
    for number, inner in enumerate(value):
        yield from _check(shape.member, inner, f"{at}[{number}]")


def _map(shape: Any, value: dict[str, Any], at: str) -> Iterator[str]:
    yield from _size(shape, len(value), at)
    for key, inner in value.items():
        yield from _check(shape.key, key, f"{at} key {key!r}")
        yield from _check(shape.value, inner, f"{at}[{key!r}]")


def _string(shape: Any, value: str, at: str) -> Iterator[str]:
    yield from _size(shape, len(value), at)
    if shape.enum and value not in shape.enum:
        yield f"{at}: {value!r} is not one of the {len(shape.enum)} values"
    pattern = shape.metadata.get("pattern")
    if pattern and not _compiled(pattern).fullmatch(value):
        yield f"{at}: {value!r} does not match {pattern}"


def _number(shape: Any, value: float, at: str) -> Iterator[str]:
    yield from _size(shape, value, at)


def _any(shape: Any, value: Any, at: str) -> Iterator[str]:
    yield from ()


def _size(shape: Any, size: float, at: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and size < least:
        yield f"{at}: {size} is under {least}"
    if most is not None and size > most:
        yield f"{at}: {size} is over {most}"


CHECKS: Mapping[str, Callable[[Any, Any, str], Iterator[str]]] = {
    **dict.fromkeys(("boolean", "timestamp", "blob"), _any),
    **dict.fromkeys(("integer", "long", "float", "double"), _number),
    "structure": _structure,
    "list": _list,
    "map": _map,
    "string": _string,
}


POSIX = {"Alnum": "A-Za-z0-9", "Print": "\\x20-\\x7e", "ASCII": "\\x00-\\x7f"}


@cache
def _letters(category: str) -> str:
    """The characters of a Unicode category in the basic plane, as ranges of a character class."""
    found = [code for code in range(0x10000) if unicodedata.category(chr(code)).startswith(category)]
    ranges: list[list[int]] = []
    for code in found:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"\\u{low:04x}-\\u{high:04x}" for low, high in ranges)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """AWS writes Java's patterns; some end with a stray ``${1,128}``, where a quantifier was meant."""
    pattern = re.sub(r"\)\$\{1,\d+\}$", ")", pattern)
    pattern = pattern.replace(r"\p{ASCII}*", "[\\x00-\\x7f]*").replace(r"\p{Print}+", "[\\x20-\\x7e]+")
    pattern = pattern.replace(r"\uD800\uDC00-\uDBFF\uDFFF", r"\U00010000-\U0010FFFF")  # pairs of surrogates
    return re.compile(re.sub(r"\\p\{(\w+)\}", lambda match: POSIX.get(match[1]) or _letters(match[1]), pattern))
