"""The errors that AWS answers, as one exception; the front gives each service its own form of it."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Refused(Exception):
    """A request that is answered with an error: AWS's code, its text, the HTTP status and further members."""

    code: str
    message: str
    status: int = 400
    more: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class Lost(Exception):
    """The connection ends before the answer; ``done`` is what would have been answered."""


# What a defect raises; it becomes a clear 4xx too, because nobody is helped by trying again.
DEFECTS = (ArithmeticError, AssertionError, AttributeError, LookupError, NameError, RuntimeError, TypeError, ValueError)


def defect(error: BaseException) -> Refused:
    """The answer to a request that met a defect of the emulator."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    text = f"{type(error).__name__}: {error} ({place.name}, line {place.lineno})"
    return Refused("EmulatorDefect", f"This is a defect of cloudml's emulator of AWS: {text}")


def invalid(message: str) -> Refused:
    """SageMaker's error for nearly everything, also for what is not there."""
    return Refused("ValidationException", message)


def outside(what: str) -> Refused:
    """What the emulator does not do: a 4xx, so that no client tries again."""
    text = f"{what} is outside cloudml's emulator of AWS; providers/sagemaker/EMULATOR.md says what is in it."
    return Refused("UnsupportedOperation", text)


def limit(what: str, wanted: float) -> Refused:
    """The account's quota, in the words of the cloud."""
    return Refused(
        "ResourceLimitExceeded",
        f"The account-level service limit '{what}' is 0 Instances, with current utilization of 0 Instances and a "
        f"request delta of {wanted:g} Instances. Please use AWS Service Quotas to request an increase for this quota.",
    )
