"""SageMaker's limits, checked before any call: botocore checks neither patterns nor maxima.

Source: botocore 1.44's service model, and the developer guide where the model says less (marked).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cloudml.errors import ConfigError

NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
TAG = re.compile(r"[\w\s.:/=+\-@]*")  # the pattern's \p{L}, \p{N} and \p{Z}
MOST_TAGS, MOST_ENV, MOST_CHANNELS, MOST_METRICS, MOST_PARAMETERS = 50, 100, 20, 40, 100
LONGEST_KEY, LONGEST_VALUE = 128, 256
LONGEST_ENV = {"job": 512, "endpoint": 1024, "monitor": 256}
LONGEST_PARAMETER = 256  # the guide's; the model says 2500
LONGEST_ARGUMENT = 256
LONGEST_RUN = 28 * 86400  # the guide's
PENDING = (1800, 2419200)


def check_name(name: str, what: str) -> str:
    """The name itself. ConfigError if SageMaker would refuse it."""
    if not NAME.fullmatch(name):
        hint = "63 letters, digits and inner dashes at most; shorten the endpoint's or the deployment's name"
        raise ConfigError(f"{what} would be named {name!r}, {len(name)} characters: SageMaker refuses that", hint=hint)
    return name


def check_tags(labels: Mapping[str, Any], where: str) -> None:
    """ConfigError for labels that cannot be tags."""
    if len(labels) > MOST_TAGS:
        raise ConfigError(f"{where}: {len(labels)} labels, our own included; SageMaker takes {MOST_TAGS} tags")
    for key, value in labels.items():
        text = str(value)
        bad = key.lower().startswith("aws:") or not (1 <= len(key) <= LONGEST_KEY and TAG.fullmatch(key))
        if bad or len(text) > LONGEST_VALUE or (isinstance(value, str) and not TAG.fullmatch(text)):
            hint = f"{LONGEST_KEY} and {LONGEST_VALUE} characters at most: letters, digits, spaces and _.:/=+-@"
            raise ConfigError(f"{where}: the label {key}={text!r} cannot be a tag", hint=hint)


def check_env(env: Mapping[str, Any], kind: str, where: str) -> None:
    """ConfigError for variables that are too many or too long; a secret's length is not known."""
    if len(env) > MOST_ENV:
        raise ConfigError(f"{where}: {len(env)} variables, our own included; SageMaker takes {MOST_ENV}")
    for name, value in env.items():
        if isinstance(value, str) and len(value) > LONGEST_ENV[kind]:
            hint = "put it in a file of the source, or in an input" if kind != "monitor" else "name fewer statistics"
            raise ConfigError(f"{where}: env.{name} has {len(value)} characters of {LONGEST_ENV[kind]}", hint=hint)


def check_most(number: int, most: int, what: str, where: str) -> None:
    """ConfigError if there are more than SageMaker takes."""
    if number > most:
        raise ConfigError(f"{where}: {number} {what}; SageMaker takes {most}")


def check_range(value: float, least: float, most: float, what: str, where: str) -> None:
    """ConfigError for a number of seconds that SageMaker refuses."""
    if not least <= value <= most:
        raise ConfigError(f"{where}: {what} of {value:g} s; SageMaker takes {least:g} to {most:g} s")
