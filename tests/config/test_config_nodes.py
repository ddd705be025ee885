"""YAML with positions: scalars of YAML 1.2, anchors and merges, and a place for whatever is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudml.config.nodes import Node, merged, parse, scalar
from cloudml.errors import ConfigError


def read(text: str) -> Node:
    return parse(text, "f.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 3e-4),
        ("1.", 1.0),
        (".5", 0.5),
        ("0x1F", 31),
        ("0o17", 15),
        ("012", 12),
        ("-7", -7),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("on", "on"),
        ("yes", "yes"),
        ("No", "No"),
        ("1_000", "1_000"),
        ("12:30:00", "12:30:00"),
        ("2026-11-22", "2026-11-22"),
        ("1.2.3", "1.2.3"),
        ("4Gi", "4Gi"),
        ("'3'", "3"),
        ("!!str 3", "3"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    found = read(f"a: {text}").plain()["a"]
    assert found == value
    assert type(found) is type(value)
    if text[:1] not in {"'", "!"}:
        assert scalar(text) == value


def test_keys_are_text_as_it_was_written() -> None:
    assert read("on: 1\n1: 2\ntrue: 3\n").plain() == {"on": 1, "1": 2, "true": 3}


def test_every_value_knows_its_place_and_its_keys() -> None:
    root = read("a: 1\nb:\n  c: [x, {d: y}]\n")
    deep = root.get("b", "c", 1, "d")
    assert deep is not None
    assert (str(deep.at), str(deep.key)) == ("f.yaml:3:14", "f.yaml:3:11")
    assert root.get("b", "c", 2) is None
    assert root.get("b", "nothing", "there") is None


def test_anchors_and_merges_keep_the_place_where_a_value_was_written() -> None:
    root = read("x-base: &base {cpu: 2, gpu: 0}\nx-more: &more {gpu: 1}\na: {<<: [*more, *base], cpu: 4}\n")
    assert root.get("a", "cpu").plain() == 4  # type: ignore[union-attr]
    assert root.get("a").plain() == {"gpu": 1, "cpu": 4}  # type: ignore[union-attr]
    assert str(root.get("a", "gpu").at) == "f.yaml:2:21"  # type: ignore[union-attr]


def test_maps_merge_lists_replace_null_deletes() -> None:
    base = read("a: {b: 1, c: {d: 1, e: 2}}\nl: [1, 2]\nx: 1\n")
    over = read("a: {c: {e: 3, f: null}, b: null}\nl: [9]\nnew: {n: null, m: 1}\ngone: null\n")
    both = merged(base, over)
    assert both.plain() == {"a": {"c": {"d": 1, "e": 3}}, "l": [9], "x": 1, "new": {"m": 1}}
    assert str(both.get("a", "c", "d").at) == "f.yaml:1:18"  # type: ignore[union-attr]
    assert str(both.get("a", "c", "e").at) == "f.yaml:1:12"  # type: ignore[union-attr]


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcd", "bcde", strict=True)
)


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("a: 1\nb: 2\na: 3\n", "3:1", "'a' stands here twice"),
        ("a: [1, 2\nb: 3\n", "2:2", "expected ',' or ']'"),
        ("a:\n\t- b\n", "2:1", "\\t"),
        ("", "1:1", "empty"),
        ("# only a comment\n", "1:1", "empty"),
        ("a: &x [*x]\n", "1:4", "contains itself"),
        ("[" * 100, "1:60", "too deeply"),
        ("a: !!python/name:os.system x\n", "1:4", "!!python/name:os.system"),
        ("? [1]\n: 2\n", "1:3", "a key must be text"),
        ("a: .inf\n", "1:4", "finite"),
        ("a: 1e999\n", "1:4", "finite"),
        ("ok: 1\na: \x01\n", "2:4", "#x0001"),
        ("a: b: c\n", "1:5", "mapping values are not allowed"),
        ("a: 1\n---\nb: 2\n", "2:1", "another document"),
        ("a: *nope\n", "1:4", "undefined alias"),
        ("a: !!int zz\n", "1:4", "not of type !!int"),
        ("<<: 3\n", "1:1", "'<<' takes"),
        (BOMB, "1:", "aliases make this more than"),
        ("a: '" + "x" * (1 << 20), "1:1", "larger than"),
    ],
)
def test_what_is_refused_says_where(text: str, place: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert str(caught.value).startswith(f"f.yaml:{place}")
    assert says in str(caught.value)


def _told(text: str) -> str | None:
    """What a text is refused with, if it is."""
    try:
        read(text).plain()
    except ConfigError as error:
        return str(error)
    return None


@given(st.text("ab:-[]{}&*!|>?'\"#%\n\t 0.~<e\x00\u2028\ufeff", max_size=60))
def test_no_text_at_all_makes_anything_but_a_value_or_a_config_error(text: str) -> None:
    said = _told(text)
    assert said is None or said.startswith("f.yaml:")
