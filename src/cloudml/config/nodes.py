"""YAML text as values that know where they stand: ``file:line:column`` survives merging and interpolation.

Scalars follow YAML 1.2 (``3e-4`` is a number; ``on``, ``yes`` and dates are text). Anchors, aliases and ``<<`` work;
duplicate keys, foreign tags, numbers that JSON cannot hold and documents that grow without end are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.parser import Parser
from yaml.reader import Reader, ReaderError
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from cloudml.errors import ConfigError

LARGEST = 1 << 20  # characters of a file
MOST = 50_000  # values after aliases have been followed: a few lines of aliases can stand for billions
DEEPEST = 60
CORE = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Position:
    """A place in a file; lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Node:
    """A value, where it begins, and where its key stands if it is a map's entry; a map's or list's values are nodes."""

    value: Any
    at: Position
    key: Position | None = field(default=None, compare=False)

    @property
    def entries(self) -> Mapping[str, Node]:
        """The entries of a map; empty if it is anything else."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> list[Node]:
        return self.value if isinstance(self.value, list) else []

    def get(self, *path: str | int) -> Node | None:
        """The node under a path of keys and indices, or None."""
        here: Node | None = self
        for step in path:
            if here is None:
                return None
            if isinstance(step, int):
                here = here.items[step] if 0 <= step < len(here.items) else None
            else:
                here = here.entries.get(step)
        return here

    def plain(self) -> Any:
        """The value without its positions."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


def merged(base: Node, over: Node) -> Node:
    """``over`` upon ``base``: maps merge, lists and scalars replace, null deletes; every value keeps its position."""
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return replace(over, value=_without_nulls(over).value)
    values = dict(base.value)
    for key, node in over.value.items():
        if node.value is None:
            values.pop(key, None)
        else:
            values[key] = merged(values[key], node) if key in values else _without_nulls(node)
    return replace(base, value=values)


def _without_nulls(node: Node) -> Node:
    """A null deletes also where there is nothing to delete."""
    if not isinstance(node.value, dict):
        return node
    return replace(node, value={k: _without_nulls(each) for k, each in node.value.items() if each.value is not None})


class _Loader(Reader, Scanner, Parser, Composer, BaseResolver):
    """PyYAML's own steps up to nodes, with the scalars of YAML 1.2 and a limit to nesting."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)
        self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise yaml.MarkedYAMLError(problem="it is nested too deeply", problem_mark=parent.start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


_NUMBERS = {
    "int": re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"),
    "float": re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
}
_WORDS = {
    "null": re.compile(r"~|null|Null|NULL|"),
    "bool": re.compile(r"true|True|TRUE|false|False|FALSE"),
    "merge": re.compile(r"<<"),
}
for _tag, _pattern in (*_WORDS.items(), *_NUMBERS.items()):
    _Loader.add_implicit_resolver(CORE + _tag, re.compile(f"^(?:{_pattern.pattern})$"), None)


def scalar(text: str) -> Any:
    """One plain scalar by the same rules, for values that come from the command line."""
    for tag, pattern in (*_WORDS.items(), *_NUMBERS.items()):
        if pattern.fullmatch(text):
            return _typed(tag, text)
    return text


def parse(text: str, file: str) -> Node:
    """The one document of a file. Raises ConfigError, with its position, at what is not (this) YAML."""
    if len(text) > LARGEST:
        raise ConfigError(f"the file is larger than {LARGEST >> 20} MiB", where=f"{file}:1:1")
    try:
        root = _Loader(text).get_single_node()
    except ReaderError as error:
        before = text[: error.position]
        at = Position(file, before.count("\n") + 1, error.position - before.rfind("\n"))
        raise ConfigError(f"character #x{ord(text[error.position]):04x} is not allowed", where=str(at)) from error
    except yaml.MarkedYAMLError as error:
        raise _syntax(error, file) from error
    if root is None:
        raise ConfigError("the file is empty", where=f"{file}:1:1", hint="it begins with 'version: 1'")
    return _Reading(file).node(root)


def _syntax(error: yaml.MarkedYAMLError, file: str) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    at = Position(file, mark.line + 1, mark.column + 1) if mark else Position(file, 1, 1)
    said = ": ".join(part for part in (error.context, error.problem) if part)
    tab = "found character '\\t'" in (error.problem or "")
    hint = "indent with spaces, not tabs" if tab else None
    return ConfigError(f"not valid YAML: {said}", where=str(at), hint=hint)


class _Reading:
    """From PyYAML's nodes to ours, following aliases within bounds."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._count = 0
        self._open: set[int] = set()

    def node(self, node: yaml.Node, key: Position | None = None) -> Node:
        at = self._at(node)
        self._count += 1
        if self._count > MOST:
            raise ConfigError(f"aliases make this more than {MOST} values", where=str(at))
        if id(node) in self._open:
            raise ConfigError("an alias that contains itself", where=str(key or at))
        self._open.add(id(node))
        try:
            return Node(self._value(node, at), at, key)
        finally:
            self._open.discard(id(node))

    def _value(self, node: yaml.Node, at: Position) -> Any:
        match node:
            case yaml.MappingNode():
                self._expect(node, at, "map")
                return self._map(node)
            case yaml.SequenceNode():
                self._expect(node, at, "seq")
                return [self.node(each) for each in node.value]
        self._expect(node, at, "str", "null", "bool", "int", "float", "merge")
        tag = node.tag.removeprefix(CORE)
        try:
            value = _typed(tag, node.value)
        except ValueError as error:
            raise ConfigError(f"{node.value!r} is not of type !!{tag}", where=str(at)) from error
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{node.value} is not a finite number", where=str(at), hint="for text, put it in quotes")
        return value

    def _expect(self, node: yaml.Node, at: Position, *tags: str) -> None:
        if node.tag not in {CORE + tag for tag in tags}:
            shown = node.tag.replace(CORE, "!!")
            raise ConfigError(f"tag {shown} is not allowed here", where=str(at), hint="values need no tag in this file")

    def _map(self, node: yaml.MappingNode) -> dict[str, Node]:
        own: dict[str, Node] = {}
        inherited: dict[str, Node] = {}
        for key, value in node.value:
            at = self._at(key)
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError("a key must be text", where=str(at))
            if key.tag == CORE + "merge":
                for each in self._sources(value, at):
                    inherited = {**each.value, **inherited}
            elif key.value in own:
                first = own[key.value].key
                raise ConfigError(
                    f"{key.value!r} stands here twice", where=str(at), hint=f"first in line {first and first.line}"
                )
            else:
                own[key.value] = self.node(value, at)
        return {**{k: v for k, v in inherited.items() if k not in own}, **own}

    def _sources(self, value: yaml.Node, at: Position) -> Iterator[Node]:
        """The maps that ``<<`` names: one, or a list of which the first counts most."""
        for each in value.value if isinstance(value, yaml.SequenceNode) else [value]:
            if not isinstance(each, yaml.MappingNode):
                raise ConfigError("'<<' takes an alias of a map, or a list of them", where=str(at))
            yield self.node(each, at)

    def _at(self, node: yaml.Node) -> Position:
        return Position(self._file, node.start_mark.line + 1, node.start_mark.column + 1)


def _typed(tag: str, text: str) -> Any:
    match tag:
        case "null":
            return None
        case "bool":
            return {"true": True, "false": False}[text.lower()] if text.lower() in ("true", "false") else _refuse(text)
        case "int":
            return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        case "float":
            return float(re.sub(r"\.(inf|nan)", r"\1", text.lower()))
    return text


def _refuse(text: str) -> Any:
    raise ValueError(text)
