"""``cloudml.yaml`` as specs: parsed, merged with its environment, filled in, checked; every error with its place."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from cloudml import plugins, specs
from cloudml.config import nodes, references, words
from cloudml.config.environments import OVERRIDES, Choice, choose
from cloudml.config.interpolation import Interpolation
from cloudml.config.nodes import Node, Position
from cloudml.config.problems import ConfigErrors, Problems, did_you_mean
from cloudml.config.references import References
from cloudml.errors import ConfigError
from cloudml.spi import Plugin

TOP = ("version", "project", "vars", "jobs", "models", "endpoints", "environments")
MAPS = ("vars", "jobs", "models", "endpoints", "environments")
VERSION = 1
KINDS: Mapping[type[BaseModel], str] = {specs.TrainingJob: "job", specs.Model: "model", specs.Endpoint: "endpoint"}
DEFAULT_PROJECT = "default"
_NAME: TypeAdapter[str] = TypeAdapter(specs.Name)
Made = TypeVar("Made", bound=specs.Spec)


@dataclass(frozen=True)
class Project:
    """A file as it counts for one environment: specs by name, with the provider's settings.

    Paths in the specs are absolute; ``${secret:…}`` stands in them as it was written. ``positions`` is the merged file.
    """

    path: Path
    root: Path
    name: str
    env: str
    provider: str
    settings: Mapping[str, Any]
    jobs: Mapping[str, specs.TrainingJob]
    models: Mapping[str, specs.Model]
    endpoints: Mapping[str, specs.Endpoint]
    positions: Node = field(repr=False, compare=False)

    def where(self, *path: str | int) -> str:
        """``file:line:column`` of what stands under a path of keys, or of the deepest of them that is there."""
        here = self.positions
        for step in path:
            here = here.get(step) or here
        return str(here.key or here.at)


def load(
    path: Path,
    env: str | None = None,
    provider: str | None = None,
    vars: Mapping[str, str] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Project:
    """Reads a file for one environment. Raises ConfigError that lists everything that is wrong with it.

    ``env`` and ``provider`` go before ``CLOUDML_ENV`` and ``CLOUDML_PLATFORM``; ``vars`` go before the file's.
    """
    problems = Problems()
    try:
        root = nodes.parse(_text(path), str(path))
        whole = _top(root, problems)
        problems.raise_any()
        choice = choose(whole.get("environments"), env, provider, environ, problems)
        return _Loading(path, whole, choice, problems).project(vars or {}, environ)
    except ConfigErrors:
        raise
    except ConfigError as error:
        raise ConfigErrors([error]) from error


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(f"there is no file {path}", hint="-f names another file") from error
    except UnicodeDecodeError as error:
        raise ConfigError("the file is not UTF-8 text", where=f"{path}:1:1") from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error


def _top(root: Node, problems: Problems) -> Node:
    """The file without its ``x-`` keys, which are room for anchors; its version and its sections checked."""
    if not isinstance(root.value, dict):
        raise ConfigError(f"the file must be a map, found {words.found(root.value)}", where=str(root.at))
    version = root.get("version")
    if version is None or version.value != VERSION or isinstance(version.value, bool):
        says = f"found {words.found(version.value)}" if version else "which is missing"
        at = version.at if version else Position(root.at.file, 1, 1)
        problems.add(f"version must be {VERSION}, {says}", at, "the file begins with 'version: 1'")
    for key, node in root.entries.items():
        if key not in TOP and not key.startswith("x-"):
            problems.add(f"unknown key {key!r}", node.key or node.at, did_you_mean(key, TOP))
    return replace(root, value={key: _section(key, root.entries[key], problems) for key in TOP if key in root.entries})


def _section(key: str, node: Node, problems: Problems) -> Node:
    """A section that is a map of maps; one that is empty in the file counts as an empty map."""
    if key not in MAPS:
        return node
    if not isinstance(node.value, dict):
        if node.value is not None:
            problems.add(f"{key} must be a map, found {words.found(node.value)}", node.at)
        return replace(node, value={})
    for name, each in node.entries.items():
        if key != "vars" and not isinstance(each.value, dict):
            problems.add(f"{key}.{name} must be a map, found {words.found(each.value)}", each.at)
    if key == "environments":
        return replace(node, value={name: _environment(name, each, problems) for name, each in node.entries.items()})
    return node


def _environment(name: str, node: Node, problems: Problems) -> Node:
    says = node.get("provider")
    if says and not isinstance(says.value, str):
        problems.add(f"environments.{name}.provider must be text, found {words.found(says.value)}", says.at)
    for key in OVERRIDES:
        inner = node.get(key)
        if inner and inner.value is not None and not isinstance(inner.value, dict):
            problems.add(f"environments.{name}.{key} must be a map, found {words.found(inner.value)}", inner.at)
    return node


class _Loading:
    """One file for one chosen environment, up to its specs."""

    def __init__(self, path: Path, whole: Node, choice: Choice, problems: Problems) -> None:
        self._path = path
        self._root = path.absolute().parent
        self._choice = choice
        self._problems = problems
        self._whole = self._merged(whole, choice.node)
        environments = whole.get("environments")
        says = [each.get("provider") for each in (environments.entries if environments else {}).values()]
        self._providers = {*plugins.names(), *(str(each.value) for each in says if each)}

    def project(self, vars: Mapping[str, str], environ: Mapping[str, str]) -> Project:
        self._interpolate(vars, environ)
        plugin = self._plugin()
        refers = References(self._root, self._whole.entries, self._problems)
        jobs = self._specs("jobs", specs.TrainingJob, refers.job, plugin)
        models = self._specs("models", specs.Model, refers.model, plugin)
        endpoints = self._specs("endpoints", specs.Endpoint, refers.endpoint, plugin)
        settings = self._settings(plugin)
        name = self._name()
        self._problems.raise_any()
        choice = self._choice
        return Project(
            path=self._path,
            root=self._root,
            name=name,
            env=choice.env,
            provider=choice.provider,
            settings=settings,
            jobs=jobs,
            models=models,
            endpoints=endpoints,
            positions=self._whole,
        )

    @staticmethod
    def _merged(whole: Node, environment: Node | None) -> Node:
        """The file with its environment's overrides; under ``settings`` what is left: the provider's settings."""
        entries = {key: node for key, node in whole.entries.items() if key != "environments"}
        own = environment.entries if environment else {}
        for key in OVERRIDES:
            if (override := own.get(key)) and override.value is not None:
                base = entries.get(key) or replace(override, value={})
                entries[key] = nodes.merged(base, override)
        if environment:
            left = {key: node for key, node in own.items() if key not in (*OVERRIDES, "provider")}
            entries["settings"] = replace(environment, value=left)
        return replace(whole, value=entries)

    def _interpolate(self, vars: Mapping[str, str], environ: Mapping[str, str]) -> None:
        declared = self._whole.get("vars")
        start = Position(str(self._path), 1, 1)
        flags = {name: Node(nodes.scalar(text), start) for name, text in vars.items()}
        known = {**(declared.entries if declared else {}), **flags}
        filling = Interpolation(known, environ, self._problems)
        entries = {key: node if key == "vars" else filling.node(node) for key, node in self._whole.entries.items()}
        self._whole = replace(self._whole, value=entries)
        for name in flags:
            if not (declared and name in declared.entries) and name not in filling.used:
                hint = did_you_mean(name, declared.entries if declared else ())
                self._problems.add(f"the file has no variable {name!r}", start, hint)

    def _plugin(self) -> Plugin | None:
        try:
            return plugins.load(self._choice.provider)
        except ConfigError as error:
            if self._choice.at is None:
                raise
            self._problems.add(str(error), self._choice.at, error.hint)
            return None

    def _specs(
        self, section: str, model: type[Made], check: Callable[[str, Node], Node], plugin: Plugin | None
    ) -> dict[str, Made]:
        nodes_ = self._whole.get(section)
        made = {}
        for name, node in (nodes_.entries if nodes_ else {}).items():
            self._check_name((section, name), name, node.key or node.at)
            before = len(self._problems)
            references.secrets(node, (section, name), self._problems)
            checked = check(name, node)
            spec = self._validated(model, checked, (section, name), quiet=len(self._problems) > before)
            if spec is not None and plugin is not None:
                self._options(plugin, model, checked, (section, name))
            if spec is not None:
                made[name] = spec
        return made

    def _validated(self, model: type[BaseModel], node: Node, path: tuple[str, ...], quiet: bool = False) -> Any:
        """The spec, or None; ``quiet`` leaves out what pydantic says of the whole, for its cause has been told."""
        try:
            return model.model_validate(node.plain())
        except ValidationError as error:
            words.report(error, model, node, path, self._problems, whole=not quiet)
            return None

    def _options(self, plugin: Plugin, model: type[BaseModel], node: Node, path: tuple[str, ...]) -> None:
        """The chosen provider's typed options; those of other providers are inert, unless they look like a slip."""
        for field_ in (node.get("options"), node.get("patch")):
            for name, each in (field_.entries if field_ else {}).items():
                if name not in self._providers and (close := get_close_matches(name, self._providers, n=1)):
                    self._problems.add(f"unknown provider {name!r}", each.key or each.at, f"did you mean {close[0]!r}?")
        options = node.get("options", plugin.name)
        if options is None:
            return
        kind = KINDS[model]
        declared = plugin.options.get(kind)
        if declared is not None:
            self._validated(declared, options, (*path, "options", plugin.name))
        elif options.entries:
            self._problems.add(f"provider {plugin.name!r} has no options for a {kind}", options.key or options.at)

    def _settings(self, plugin: Plugin | None) -> Mapping[str, Any]:
        node = self._whole.get("settings") or replace(self._whole, value={}, key=None)
        settings = {**self._choice.profile, **node.plain()}
        if plugin is None:
            return settings
        settings |= {
            name: str((self._root / Path(settings[name]).expanduser()).absolute())
            for name, field_ in plugin.config.model_fields.items()
            if isinstance(settings.get(name), str) and name in node.entries and words.takes(field_.annotation, Path)
        }
        try:
            plugin.config.model_validate(settings)
        except ValidationError as error:
            words.report(error, plugin.config, node, ("environments", self._choice.env), self._problems)
        return settings

    def _name(self) -> str:
        node = self._whole.get("project")
        if node is None:
            return DEFAULT_PROJECT
        self._check_name(("project",), node.value, node.at)
        return str(node.value)

    def _check_name(self, path: tuple[str, ...], name: Any, at: Position) -> None:
        try:
            _NAME.validate_python(name)
        except ValidationError as error:
            words.report(error, None, Node(name, at), path, self._problems)
