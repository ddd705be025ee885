"""``${vars.x}``, ``${env:X}`` and ``${env:X:-default}`` in values; ``${secret:…}`` and the shell's ``${X}`` stay.

``$${`` stands for ``${``. A value that is nothing but ``${vars.x}`` takes the variable's type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cloudml.config.nodes import Node, Position
from cloudml.config.problems import Problems, did_you_mean

PLACEHOLDER = re.compile(r"(\$?)\$\{([^{}]*)\}")
NAMESPACED = re.compile(r"(?:(?P<dotted>\w+)\.|(?P<colon>\w+):(?![-=?+\d\s]))(?P<rest>.*)", re.DOTALL)
SECRETS = ("env:", "file:", "native:")
FORMS = "${vars.NAME}, ${env:NAME}, ${env:NAME:-default}, ${secret:env:NAME}; write $${ for a plain ${"


class Interpolation:
    """Fills placeholders in; what is wrong with them goes to ``problems``. ``used`` are the variables that were."""

    def __init__(self, variables: Mapping[str, Node], environ: Mapping[str, str], problems: Problems) -> None:
        self._variables = variables
        self._environ = environ
        self._problems = problems
        self._open: list[str] = []
        self.used: set[str] = set()

    def node(self, node: Node) -> Node:
        """The same node with every text in it filled in."""
        match node.value:
            case dict():
                return replace(node, value={key: self.node(each) for key, each in node.value.items()})
            case list():
                return replace(node, value=[self.node(each) for each in node.value])
            case str() if "${" in node.value:
                return replace(node, value=self._text(node.value, node.at))
        return node

    def _text(self, text: str, at: Position) -> Any:
        whole = PLACEHOLDER.fullmatch(text)
        if whole and not whole[1] and whole[2].startswith("vars."):
            return self._variable(whole[2].removeprefix("vars."), at)
        return PLACEHOLDER.sub(lambda match: self._part(match, at), text)

    def _part(self, match: re.Match[str], at: Position) -> str:
        if match[1]:
            return match[0][1:]
        form = NAMESPACED.fullmatch(match[2])
        if form is None:
            return match[0]
        namespace, rest = form["dotted"] or form["colon"], form["rest"]
        if form["dotted"] and namespace == "vars":
            value = self._variable(rest, at)
            return self._as_text(rest, value, at)
        if form["colon"] and namespace == "env":
            return self._environment(rest, at)
        if form["colon"] and namespace == "secret" and rest.startswith(SECRETS):
            return match[0]
        self._problems.add(f"unknown placeholder {match[0]}", at, f"known are {FORMS}")
        return match[0]

    def _variable(self, name: str, at: Position) -> Any:
        self.used.add(name)
        if name in self._open:
            self._problems.add(f"variable {name!r} refers to itself", at)
            return ""
        if name not in self._variables:
            self._problems.add(f"there is no variable {name!r}", at, did_you_mean(name, self._variables))
            return ""
        self._open.append(name)
        value = self.node(self._variables[name]).value
        self._open.pop()
        return value

    def _as_text(self, name: str, value: Any, at: Position) -> str:
        if isinstance(value, dict | list):
            kind = "map" if isinstance(value, dict) else "list"
            self._problems.add(f"variable {name!r} is a {kind}, which does not fit inside a text", at)
            return ""
        if isinstance(value, bool):
            return "true" if value else "false"
        return "" if value is None else str(value)

    def _environment(self, body: str, at: Position) -> str:
        name, given, default = body.partition(":-")
        value = self._environ.get(name)
        if value or (value is not None and not given):
            return value
        if not given:
            hint = f"set it, or give a default: ${{env:{name}:-default}}"
            self._problems.add(f"environment variable {name} is not set", at, hint)
        return default
