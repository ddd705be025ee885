"""Retries, translation of errors, secrets; and waiting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cloudml.calls import ATTEMPTS, NativeCaller, resolved, secret
from cloudml.errors import AnswerLost, ConfigError, Invalid, NotFound, ProviderError, Throttled, Timeout, Unavailable
from cloudml.events import Event, Events, Happened
from cloudml.spi import Call, Secret
from cloudml.waiting import LONGEST, Clock, Wait


class NativeError(Exception):
    pass


ERRORS: dict[str, Callable[[], ProviderError]] = {
    "throttled": lambda: Throttled("slow down"),
    "asked": lambda: Throttled("slow down", retry_after=7),
    "5xx": lambda: Unavailable("try again", request_id="r-1", hint="look at the engine"),
    "reset": lambda: AnswerLost("reset"),
    "missing": lambda: NotFound("no such thing"),
    "hour": lambda: Throttled("slow down", retry_after=3600),
    "bad": lambda: Invalid("no"),
}


def classify(native: Exception) -> ProviderError | None:
    make = ERRORS.get(str(native))
    return make() if make else None


@dataclass
class Desk:
    """A caller, a native function that fails as told, and what was slept and heard."""

    fails: list[str] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    heard: list[Event] = field(default_factory=list)
    tries: int = 0

    def __post_init__(self) -> None:
        clock = Clock(lambda: 0.0, self.slept.append)
        self.caller = NativeCaller("acme", classify, clock, Events([self.heard.append]), spread=lambda: 1.0)

    def native(self) -> str:
        self.tries += 1
        if self.fails:
            raise NativeError(self.fails.pop(0))
        return "fine"


def test_a_read_is_repeated_while_the_provider_throttles_or_is_away() -> None:
    desk = Desk(["throttled", "5xx", "reset", "asked"])
    assert desk.caller.read("Describe", desk.native) == "fine"
    assert desk.slept == [1.0, 2.0, 4.0, 7.0], "doubling, or what the provider asked for"
    assert [event.what for event in desk.heard] == [Happened.RETRYING] * 4
    assert "Describe" in desk.heard[0].text


def test_a_read_ends_with_the_last_error() -> None:
    desk = Desk(["5xx"] * 20)
    with pytest.raises(Unavailable) as raised:
        desk.caller.read("Describe", desk.native)
    assert desk.tries == ATTEMPTS
    assert max(desk.slept) <= 20
    assert str(raised.value) == "acme Describe: try again (request r-1)"
    assert isinstance(raised.value.__cause__, NativeError)


def test_finding_gives_none_for_what_is_not_there() -> None:
    assert Desk(["missing"]).caller.find("Describe", Desk().native) == "fine"
    desk = Desk(["throttled", "missing"])
    assert desk.caller.find("Describe", desk.native) is None
    with pytest.raises(Invalid):
        Desk(["bad"]).caller.find("Describe", Desk(["bad"]).native)


def test_a_write_is_repeated_only_while_it_is_refused_for_its_rate() -> None:
    desk = Desk(["throttled", "asked"])
    assert desk.caller.write("Create", desk.native) == "fine"
    assert desk.slept == [1.0, 7.0]


@pytest.mark.parametrize("unclear", ["5xx", "reset"])
def test_a_write_that_may_have_been_carried_out_is_an_answer_lost(unclear: str) -> None:
    desk = Desk([unclear])
    with pytest.raises(AnswerLost) as raised:
        desk.caller.write("Create", desk.native)
    assert desk.tries == 1
    assert (raised.value.provider, raised.value.operation) == ("acme", "Create")
    assert raised.value.hint == ("look at the engine" if unclear == "5xx" else None), "the way out is not lost with it"


def test_a_defect_is_raised_as_it_is() -> None:
    desk = Desk(["a bug"])
    with pytest.raises(NativeError, match="a bug"):
        desk.caller.read("Describe", desk.native)
    assert desk.tries == 1


def test_an_error_of_the_tree_keeps_what_it_knows() -> None:
    def refused() -> None:
        raise Invalid("no", operation="Inner")

    with pytest.raises(Invalid, match="acme Inner: no"):
        Desk().caller.write("Outer", refused)


def test_secrets_are_filled_in_for_sending_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOKEN", "hush")
    (tmp_path / "key").write_text("silence\n")
    document = {"a": Secret("env:TOKEN"), "b": [{"c": Secret(f"file:{tmp_path / 'key'}")}], "d": Secret("native:arn:x")}
    call = Call("Create", "x", document, "why")
    assert resolved(call).document == {"a": "hush", "b": [{"c": "silence"}], "d": "arn:x"}
    assert "hush" not in repr(call)
    before = call.fingerprint()
    monkeypatch.setenv("TOKEN", "other")
    assert call.fingerprint() == before, "hashed as its reference"


@pytest.mark.parametrize("reference", ["env:NOT_SET", "file:/nowhere", "vault:x"])
def test_a_secret_that_cannot_be_read_is_said_by_its_reference(reference: str) -> None:
    with pytest.raises(ConfigError, match="secret:"):
        secret(Secret(reference))


def test_pauses_grow_to_thirty_seconds_and_end_at_the_deadline() -> None:
    slept: list[float] = []
    wait = Wait(Clock(lambda: sum(slept), slept.append), timeout=200, first=1)
    for _ in range(14):
        wait.pause("a job")
    with pytest.raises(Timeout, match="a job: not done after 200 s"):
        wait.pause("a job")
    assert slept[:3] == [1, 1.5, 2.25]
    assert max(slept) == LONGEST
    assert sum(slept) == 200


def test_when_something_moves_the_pauses_are_short_again() -> None:
    slept: list[float] = []
    wait = Wait(Clock(lambda: 0.0, slept.append), timeout=200, first=1)
    for _ in range(9):
        wait.pause("a job")
    wait.restart()
    wait.pause("a job")
    wait.pause("a job", longest=0.5)
    assert slept[-2:] == [1, 0.5]


def test_a_provider_that_asks_for_an_hour_is_told_to_the_user_at_once() -> None:
    desk = Desk(["hour"])
    with pytest.raises(Throttled):
        desk.caller.read("Describe", desk.native)
    assert not desk.slept
