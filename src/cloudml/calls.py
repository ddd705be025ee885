"""Around every native call: its errors translated, retries where a repeat is harmless, secrets filled in last."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type

from cloudml.errors import AnswerLost, CloudmlError, ConfigError, NotFound, ProviderError, Throttled, Transient
from cloudml.events import Event, Events, Happened
from cloudml.spi import Call, Secret
from cloudml.waiting import Clock

Result = TypeVar("Result")
ATTEMPTS = 8
LONGEST = 20.0
PATIENCE = 60.0  # a provider that asks for a longer pause is told to the user instead


class NativeCaller:
    """The Caller that providers are given.

    ``classify`` is the provider's: it names the error of the tree for a native exception, or None for a defect, which
    is raised as it is.
    """

    def __init__(
        self,
        provider: str,
        classify: Callable[[Exception], ProviderError | None],
        clock: Clock,
        events: Events,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._provider = provider
        self._classify = classify
        self._clock = clock
        self._events = events
        self._spread = spread
        self._reads, self._writes = self._retrying(Transient), self._retrying(Throttled)

    def read(self, operation: str, function: Callable[[], Result]) -> Result:
        """A read, tried up to eight times while the provider throttles or is unavailable."""
        return self._retried(self._reads, operation, function)

    def find(self, operation: str, function: Callable[[], Result]) -> Result | None:
        """A read of one thing; None if it is not there."""
        try:
            return self.read(operation, function)
        except NotFound:
            return None

    def write(self, operation: str, function: Callable[[], Result]) -> Result:
        """A write, repeated only while it is refused for its rate. AnswerLost if it may have been carried out."""
        try:
            return self._retried(self._writes, operation, function)
        except (Throttled, AnswerLost):
            raise
        except Transient as unclear:  # a 5xx or a broken connection does not say whether the work was done
            lost = AnswerLost(str(unclear.args[0]), provider=self._provider, operation=operation, hint=unclear.hint)
            lost.request_id = unclear.request_id
            raise lost from unclear

    def _translated(self, operation: str, function: Callable[[], Result]) -> Result:
        try:
            return function()
        except ProviderError as known:
            known.provider = known.provider or self._provider
            known.operation = known.operation or operation
            raise
        except CloudmlError:
            raise
        except Exception as native:  # the one place where a provider's exceptions become ours
            error = self._classify(native)
            if error is None:
                raise
            error.provider = self._provider
            error.operation = error.operation or operation
            raise error from native

    def _retrying(self, errors: type[Transient]) -> Retrying:
        return Retrying(
            retry=retry_if_exception_type(errors),
            stop=lambda state: state.attempt_number >= ATTEMPTS or _asked(state) > PATIENCE,
            wait=self._delay,
            sleep=self._clock.sleep,
            before_sleep=self._tell,
            reraise=True,
        )

    def _retried(self, retrying: Retrying, operation: str, function: Callable[[], Result]) -> Result:
        result: Result = retrying(self._translated, operation, function)
        return result

    def _delay(self, state: RetryCallState) -> float:
        """What the provider asked for, else 1 s doubled per attempt, 20 s at most, of which 50 to 100 % at random."""
        if asked := _asked(state):
            return asked
        return float(min(LONGEST, 0.5 * 2.0**state.attempt_number) * (0.5 + 0.5 * self._spread()))

    def _tell(self, state: RetryCallState) -> None:
        operation, pause = state.args[0], (state.next_action.sleep if state.next_action else 0.0)
        self._events.emit(Event(Happened.RETRYING, None, f"{operation}: {_error(state)}; again in {pause:.1f} s"))


def _asked(state: RetryCallState) -> float:
    """The pause that the provider asked for, in seconds; 0 if it asked for none."""
    return float(getattr(_error(state), "retry_after", None) or 0)


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def resolved(call: Call) -> Call:
    """The call with every Secret replaced by its value; only for sending, never for showing."""
    return call.with_document(_fill(call.document))


def _fill(value: Any) -> Any:
    if isinstance(value, Secret):
        return secret(value)
    if isinstance(value, Mapping):
        return {key: _fill(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_fill(each) for each in value]
    return value


def secret(reference: Secret) -> str:
    """The value of ``env:NAME`` or ``file:PATH``; ``native:`` references go to the provider as they are."""
    scheme, _, rest = reference.reference.partition(":")
    if scheme == "env":
        if rest not in os.environ:
            raise ConfigError(f"{reference}: the environment variable {rest} is not set")
        return os.environ[rest]
    if scheme == "file":
        if not Path(rest).is_file():
            raise ConfigError(f"{reference}: there is no file {rest}")
        return Path(rest).read_text().rstrip("\n")
    if scheme == "native":
        return rest
    raise ConfigError(f"{reference}: write secret:env:NAME, secret:file:PATH or secret:native:ID")
