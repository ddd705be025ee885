"""What a file refers to: other things in the file, and files beside it, whose paths become absolute."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from cloudml.config.nodes import Node
from cloudml.config.problems import Problems, did_you_mean
from cloudml.config.words import dotted

URI = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)  # at least two letters, so that c:\data is a path
SECRET = re.compile(r"\$\{secret:(?:env|file|native):[^{}]*\}")
Steps = tuple[str | int, ...]


def rewritten(node: Node, path: Steps, change: Callable[[Node], Any]) -> Node:
    """The node with the value under ``path`` changed; the same node if there is nothing."""
    if not path:
        return replace(node, value=change(node))
    inner = node.get(path[0])
    if inner is None:
        return node
    changed = rewritten(inner, path[1:], change)
    if isinstance(node.value, list):
        return replace(node, value=[changed if each is inner else each for each in node.value])
    return replace(node, value={**node.value, path[0]: changed})


class References:
    """Checks every reference of the merged file; what is wrong goes to ``problems``."""

    def __init__(self, root: Path, sections: Mapping[str, Node], problems: Problems) -> None:
        self._root = root
        self._sections = sections
        self._problems = problems

    def job(self, name: str, node: Node) -> Node:
        here: Steps = ("jobs", name)
        paths: list[Steps] = [("source",), *(("inputs", each) for each in _entries(node, "inputs"))]
        return self._files(node, here, paths)

    def model(self, name: str, node: Node) -> Node:
        self._origin(name, node.get("from"))
        self._gates(name, node)
        return self._files(node, ("models", name), [("path",), ("sample_input",), ("baseline", "data")])

    def endpoint(self, name: str, node: Node) -> Node:
        here: Steps = ("endpoints", name)
        deployments = _entries(node, "deployments")
        for field in ("traffic", "mirror"):
            self._weights(here, field, _entries(node, field), deployments or {"blue": node})
        for path in [("model",), *(("deployments", each, "model") for each in deployments)]:
            found = node.get(*path)
            if found is not None and isinstance(found.value, str):
                if "/" in found.value and not URI.match(found.value):
                    node = self._files(node, here, [path])
                else:
                    self._version(dotted((*here, *path)), found)
        return node

    def _files(self, node: Node, here: Steps, paths: Iterable[Steps]) -> Node:
        for path in paths:
            node = rewritten(node, path, lambda found, path=path: self._file(dotted((*here, *path)), found))  # type: ignore[misc]
        return node

    def _file(self, name: str, found: Node) -> Any:
        """The absolute path; whatever is no path (a URI, a list of rows, a wrong type) stays what it is."""
        if not isinstance(found.value, str) or URI.match(found.value):
            return found.value
        path = (self._root / Path(found.value).expanduser()).absolute()
        if not found.value or not path.exists():
            hint = _beside(found.value, path) or f"paths are relative to {self._root}"
            self._problems.add(f"{name}: there is no {found.value!r}", found.at, hint)
        return str(path)

    def _origin(self, name: str, found: Node | None) -> None:
        if found is None or not isinstance(found.value, str):
            return
        jobs = [f"jobs.{each}" for each in self._names("jobs")]
        if found.value not in jobs:
            self._problems.add(
                f"models.{name}.from: there is no {found.value!r} in this file",
                found.at,
                did_you_mean(found.value, jobs) or "write jobs.NAME, a job of this file",
            )

    def _gates(self, name: str, node: Node) -> None:
        """Gates ask for metrics, and a folder of a file has none: such a model could never be applied."""
        gates, path, job = (node.get(field) for field in ("gates", "path", "from"))
        if gates is not None and gates.items and path is not None and job is None:
            self._problems.add(
                f"models.{name}.gates: a model from 'path' has no metrics for its gates",
                gates.key or gates.at,
                "take it 'from' a job, or register it in Python: cloud.models.register(…, metrics={…}, gates=[…])",
            )

    def _version(self, name: str, found: Node) -> None:
        """``fraud@champion`` with a family of this file is checked; other versions are the provider's to know."""
        family, mark, alias = found.value.partition("@")
        model = self._names("models").get(family)
        if model is None or not mark:
            return
        given = model.get("alias")
        if given is None or given.value != alias:
            has = f"{family}@{given.value}" if given is not None else None
            self._problems.add(
                f"{name}: model {family!r} has no alias {alias!r} in this file",
                found.at,
                f"did you mean {has!r}?" if has else f"give it 'alias: {alias}', or write {family!r}",
            )

    def _weights(self, here: Steps, field: str, weights: Mapping[str, Node], known: Mapping[str, Node]) -> None:
        for name, node in weights.items():
            if name not in known:
                self._problems.add(
                    f"{dotted((*here, field))}: there is no deployment {name!r}",
                    node.key or node.at,
                    did_you_mean(name, known),
                )

    def _names(self, section: str) -> Mapping[str, Node]:
        node = self._sections.get(section)
        return node.entries if node else {}


def secrets(node: Node, here: Steps, problems: Problems) -> None:
    """Refuses a secret where nobody would resolve it: it would reach a command as the text of its reference.

    ``env`` takes one as a whole value; ``options`` are the provider's to understand.
    """
    if isinstance(node.value, dict | list):
        inner = node.value.items() if isinstance(node.value, dict) else enumerate(node.value)
        for step, each in inner:
            if step != "options":
                secrets(each, (*here, step), problems)
    elif isinstance(node.value, str) and SECRET.search(node.value):
        if len(here) < 2 or here[-2] != "env":
            hint = "name it in env, and read the variable where it is needed"
            problems.add(f"{dotted(here)}: a secret can only stand in env", node.at, hint)
        elif not SECRET.fullmatch(node.value):
            problems.add(f"{dotted(here)}: a secret must be the whole value", node.at, "give it a variable of its own")


def _entries(node: Node, field: str) -> Mapping[str, Node]:
    inner = node.get(field)
    return inner.entries if inner else {}


def _beside(written: str, path: Path) -> str | None:
    """A near miss in the same folder, as it would be written."""
    names = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
    close = get_close_matches(path.name, names, n=1)
    return f"did you mean {str(Path(written).with_name(close[0]))!r}?" if close else None
