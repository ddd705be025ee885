"""Whatever is wrong with a file: what is said, where it points, what it proposes; all of it at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from config_files import WHOLE

from cloudml.config import ConfigErrors, load
from cloudml.errors import ConfigError

Write = Callable[..., Path]
TRAIN = "    resources: {cpu: 2, memory: 4Gi}"
FROM = WHOLE[WHOLE.index("from: jobs.train") : WHOLE.index("    alias: champion")]

# What is replaced in the whole example, by what; then the place of the error, what it says, and its hint.
WRONG = [
    ("version: 1", "version: 2", "1:10", "version must be 1, found the number 2", "begins with 'version: 1'"),
    ("version: 1", "version: true", "1:10", "version must be 1, found true", None),
    ("version: 1\n", "", "1:1", "version must be 1, which is missing", None),
    ("vars:", "vras:", "3:1", "unknown key 'vras'", "did you mean 'vars'?"),
    ("project: fraud", "project: Fraud", "2:10", "project: 'Fraud' is not a valid value", "small letters"),
    ("project: fraud", "project: [a]", "2:10", "project must be text, found a list", None),
    ("jobs:\n", "jobs:\n  Bad_name: {command: x}\n", "5:3", "'Bad_name' is not a valid value", "small letters"),
    ("source:", "sorce:", "6:5", "unknown key 'sorce' in jobs.train", "did you mean 'source'?"),
    ("source: src/", "source: scr/", "6:13", "there is no 'scr/'", "did you mean 'src'?"),
    ("source: src/", "source: 3", "6:13", "jobs.train.source must be text, found the number 3", "put it in quotes"),
    ("command: python train.py --lr ${vars.lr}", "command: {}", "7:14", "must be text or a list, found a map", None),
    ("    command: python train.py --lr ${vars.lr}\n", "", "5:3", "jobs.train.command is missing", None),
    ("${vars.lr}", "${vars.rate}", "7:14", "there is no variable 'rate'", "known here: lr"),
    ("${vars.lr}", "${var.lr}", "7:14", "unknown placeholder ${var.lr}", "${vars.NAME}"),
    ("${vars.lr}", "${env:NOT_SET_AT_ALL}", "7:14", "NOT_SET_AT_ALL is not set", ":-default}"),
    ("${vars.lr}", "${secret:X}", "7:14", "unknown placeholder ${secret:X}", "${secret:env:NAME}"),
    ("${vars.lr}", "${secret:env:KEY}", "7:14", "jobs.train.command: a secret can only stand in env", "name it in env"),
    (
        TRAIN,
        '    env: {KEY: "Bearer ${secret:env:KEY}"}',
        "9:16",
        "env.KEY: a secret must be the whole value",
        "its own",
    ),
    ("lr: 3e-4", 'lr: "${vars.lr}"', "3:12", "variable 'lr' refers to itself", None),
    ("lr: 3e-4", "lr: [1]", "7:14", "variable 'lr' is a list", None),
    ("data/train.csv}\n    res", "data/tarin.csv}\n    res", "8:21", "no 'data/tarin.csv'", "'data/train.csv'?"),
    ("{train: data", "{Tr-ain: data", "8:14", "'Tr-ain' is not a valid value", "underscores"),
    ("cpu: 2", "cpu: two", "9:22", "jobs.train.resources.cpu must be a number, found the text 'two'", None),
    ("cpu: 2", "cpu: 0", "9:22", "must be over 0, found the number 0", None),
    ("cpu: 2", "cpus: 2", "9:17", "unknown key 'cpus' in jobs.train.resources", "did you mean 'cpu'?"),
    ("4Gi", "4 gigs", "9:33", "found the text '4 gigs'", "512Mi"),
    (TRAIN, "    timeout: soon", "9:14", "must be a number, found the text 'soon'", "30m"),
    (TRAIN, "    env: {PY: 3.10}", "9:15", "jobs.train.env.PY must be text, found the number 3.1", "quotes"),
    (TRAIN, "    env: {AIP_X: a}", "9:11", "AIP_X is reserved", None),
    (TRAIN, "    params: {a: [1]}", "9:17", "must be text or a number or true or false, found a list", None),
    (TRAIN, "    nodes:", "9:11", "jobs.train.nodes must be a whole number, found nothing", None),
    (TRAIN, "    retries: 99", "9:14", "jobs.train.retries must be at most 30", None),
    (TRAIN, "    options: {local: {inherits: [X]}}", "9:23", "unknown key 'inherits'", "did you mean 'inherit'?"),
    (TRAIN, "    options: {loca: {}}", "9:15", "unknown provider 'loca'", "did you mean 'local'?"),
    ("jobs.train\n", "jobs.trian\n", "12:11", "there is no 'jobs.trian' in this file", "did you mean 'jobs.train'?"),
    ("jobs.train\n", "train\n", "12:11", "there is no 'train' in this file", "did you mean 'jobs.train'?"),
    (FROM, "path: modle/\n", "12:11", "models.fraud.path: there is no 'modle/'", "did you mean 'model'?"),
    ("from: jobs.train", "path: model", "15:5", "a model from 'path' has no metrics", "metrics={…}"),
    ("samples/one.json", "samples/on.json", "13:19", "there is no 'samples/on.json'", "'samples/one.json'?"),
    ("target:", "traget:", "14:38", "unknown key 'traget' in models.fraud.baseline", "did you mean 'target'?"),
    ("auc >= 0.90", "auc is high", "15:13", "models.fraud.gates[0]: 'auc is high' is not", "'auc >= 0.90'"),
    ("from: jobs.train", "path: model\n    from: jobs.train", "11:3", "give either 'from' (a job) or 'path'", None),
    (
        "    alias: champion",
        "    approval: aproved\n    alias: champion",
        "16:15",
        "found the text 'aproved'",
        "did you mean 'approved'?",
    ),
    ("fraud@champion", "fraud@chmpion", "19:12", "has no alias 'chmpion'", "did you mean 'fraud@champion'?"),
    ("    alias: champion\n", "", "18:12", "has no alias 'champion'", "give it 'alias: champion'"),
    ("    model: fraud@champion\n", "", "18:3", "give 'model' or at least one of 'deployments'", None),
    ("model: fraud@champion", "model: ./modle", "19:12", "there is no './modle'", "did you mean 'model'?"),
    ("capture: 1.0", "capture: 2", "20:14", "endpoints.fraud-api.capture must be at most 1", None),
    ("capture: 1.0", "resources: {cpus: 3}", "20:17", "unknown key 'cpus' in endpoints.fraud-api.resources", "'cpu'?"),
    ("capture: 1.0", "scale: {min: 3}", "20:12", "endpoints.fraud-api.scale: min 3 is over max 1", None),
    ("capture: 1.0", "traffic: {blue: 50, gren: 50}", "20:25", "there is no deployment 'gren'", "known here: blue"),
    ("capture: 1.0", "traffic: {blue: 50}", "18:3", "traffic sums to 50, not 100", None),
    ("psi: 0.2", "psi: big", "21:28", "endpoints.fraud-api.monitor.drift.psi must be a number", None),
    ("{provider: local}", "{provider: local, hme: x}", "23:27", "unknown key 'hme' in environments.dev", "'home'?"),
    ("{provider: local}", "{provider: local, host: 3}", "23:33", "environments.dev.host must be text", "quotes"),
    ("{provider: local}", "{provider: locl}", "23:20", "there is no provider 'locl'", "did you mean 'local'?"),
    ("{provider: local}", "{provider: 3}", "23:20", "environments.dev.provider must be text", None),
    ("{provider: local}", "{region: x}", "23:3", "environments.dev.provider is missing", "provider: local"),
    ("{provider: local}", "[local]", "23:9", "environments.dev must be a map, found a list", None),
    ("{provider: local}", "{provider: local, jobs: 3}", "23:33", "environments.dev.jobs must be a map", None),
    ("jobs:\n  train:", "models: 3\njobs:\n  train:", "11:1", "'models' stands here twice", "first in line 4"),
]


@pytest.mark.parametrize(("old", "new", "place", "says", "hint"), WRONG, ids=[new or old for old, new, *_ in WRONG])
def test_one_mistake(write: Write, old: str, new: str, place: str, says: str, hint: str | None) -> None:
    assert WHOLE.count(old) >= 1
    path = write(text=WHOLE.replace(old, new, 1))
    with pytest.raises(ConfigErrors) as caught:
        load(path, environ={})
    assert [str(each) for each in caught.value.errors] == [str(caught.value)], "one mistake is one error"
    assert str(caught.value).startswith(f"{path}:{place}: ")
    assert says in str(caught.value)
    assert hint is None or hint in (caught.value.hint or "")
    assert caught.value.exit_code == 3


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(write: Write) -> None:
    path = write(("cpu: 2", "cpu: two"), ("source:", "sorce:"), ("jobs.train\n", "jobs.no\n"), ("psi: 0.2", "psi: big"))
    with pytest.raises(ConfigErrors) as caught:
        load(path, environ={})
    assert [each.where.removeprefix(f"{path}:") for each in caught.value.errors if each.where] == [
        "6:5",
        "9:22",
        "12:11",
        "21:28",
    ]
    lines = str(caught.value).splitlines()
    assert lines[0] == "4 errors"
    assert lines[1].endswith("unknown key 'sorce' in jobs.train (did you mean 'source'?)")
    assert caught.value.where == f"{path}:6:5"


def test_an_environment_that_is_not_there(write: Write) -> None:
    path = write()
    with pytest.raises(ConfigErrors, match=r":22:1: there is no environment 'prd'") as caught:
        load(path, "prd", environ={})
    assert caught.value.hint == "did you mean 'prod'?"


def test_a_provider_that_is_not_there(write: Write) -> None:
    with pytest.raises(ConfigErrors, match="there is no provider 'locl'"):
        load(write(), provider="locl", environ={})


def test_a_flag_for_a_variable_that_nothing_uses(write: Write) -> None:
    with pytest.raises(ConfigErrors, match="the file has no variable 'lrr'") as caught:
        load(write(), vars={"lrr": "1"}, environ={})
    assert caught.value.hint == "did you mean 'lr'?"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no file"):
        load(tmp_path / "cloudml.yaml")
    with pytest.raises(ConfigError, match="cannot read"):
        load(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"project: caf\xe9")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(tmp_path / "latin.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(ConfigError, match=r"list\.yaml:1:1: the file must be a map, found a list"):
        load(tmp_path / "list.yaml")


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _paths(inner, (*path, key))


def _changed(path: tuple[Any, ...], value: Any) -> str:
    document = yaml.safe_load(WHOLE)
    if not path:
        return yaml.safe_dump(value)
    here = document
    for step in path[:-1]:
        here = here[step]
    here[path[-1]] = value
    return yaml.safe_dump(document)


@pytest.mark.parametrize("value", [None, -3, ["x", {}], {"a": {"b": 1}}], ids=str)
def test_any_value_anywhere_is_taken_or_refused_with_its_place(write: Write, value: Any) -> None:
    refused = 0
    for path in _paths(yaml.safe_load(WHOLE)):
        file = write(text=_changed(path, value))
        try:
            load(file, environ={})
        except ConfigErrors as caught:
            refused += 1
            for error in caught.errors:
                assert re.match(rf"{re.escape(str(file))}:\d+:\d+: ", str(error)), (path, error)
                assert "pydantic" not in str(error)
                assert "Input should" not in str(error), (path, error)
    assert refused > 20
