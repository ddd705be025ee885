"""Formatting: tables, documents without secrets, calls of a plan."""

from __future__ import annotations

import json

import pytest

from cloudml.cli.columns import short, table
from cloudml.cli.documents import HIDDEN, plain
from cloudml.cli.output import Printer
from cloudml.plan import Plan, Step
from cloudml.spi import Call, Effect, Later, Secret
from cloudml.states import Key, Part, Phase


def test_a_table_is_aligned_and_has_no_blanks_at_its_ends() -> None:
    assert table(("NAME", "X"), [("a", "1"), ("longer", "")]) == "NAME    X\na       1\nlonger"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"db_password": "x", "PASSWORD": "x"}, {"db_password": HIDDEN, "PASSWORD": HIDDEN}),
        ({"accountKey": "x", "access_token": "x"}, {"accountKey": HIDDEN, "access_token": HIDDEN}),
        ({"secret": "${secret:env:X}"}, {"secret": "${secret:env:X}"}),
        ({"tokenizer": "bert", "max_tokens": 512, "key": "a"}, {"tokenizer": "bert", "max_tokens": 512, "key": "a"}),
        ("https://x/a?sv=1&sig=abc%2B&se=2", f"https://x/a?sv=1&sig={HIDDEN}&se=2"),
        ("s3://b/k?X-Amz-Signature=abc", f"s3://b/k?X-Amz-Signature={HIDDEN}"),
        (
            [Later("version"), Secret("env:X"), Phase.READY, (1, 2.5, None)],
            ["<version>", "${secret:env:X}", "ready", [1, 2.5, None]],
        ),
    ],
)
def test_documents_are_json_and_hide_what_is_secret(value: object, expected: object) -> None:
    assert plain(value) == expected
    json.dumps(plain(value))


def test_a_part_is_a_map() -> None:
    assert plain(Part("version", "1", "v1", Phase.READY, facts={"token": "x"}))["facts"] == {"token": HIDDEN}


def test_digests_are_shortened() -> None:
    assert short(f"put /x/{'0123456789abcdef' * 4}/y") == "put /x/01234567…/y"


def test_a_plan_marks_each_call_by_its_effect(capsys: pytest.CaptureFixture[str]) -> None:
    calls = (
        Call("CreateModel", "m-1", {"uri": Later("uri")}, "it is new"),
        Call("PUT endpoints/e", "endpoints/e", {}, "its traffic differs", Effect.UPDATE),
        Call("DeleteModel", "m-0", {}, "nothing uses it", Effect.DELETE),
    )
    done = Step(Key("job", "train-1", "s"), ())
    plan = Plan((done, Step(Key("endpoint", "e", "s"), calls, note="if auc >= 0.9")))
    Printer().plan(plan)
    assert capsys.readouterr().out == (
        "endpoint e   (if auc >= 0.9)\n"
        "  + CreateModel m-1   (it is new)\n"
        "  ~ PUT endpoints/e   (its traffic differs)\n"
        "  - DeleteModel m-0   (nothing uses it)\n"
        "Plan: 1 to create, 1 to change, 1 to delete.\n"
    )
    Printer(documents=True).plan(plan)
    assert '      {\n        "uri": "<uri>"\n      }\n' in capsys.readouterr().out
    Printer("json").plan(plan)
    document = json.loads(capsys.readouterr().out)
    assert [step["name"] for step in document["steps"]] == ["train-1", "e"]
    assert [call["effect"] for call in document["steps"][1]["calls"]] == ["create", "change", "delete"]
    Printer("name").plan(plan)
    assert capsys.readouterr().out == "endpoint e\n"
