"""The columns of this session: each cloud in each condition that can be had with what it installs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trial import Column
from trial_conditions import Slow, Throttled

from cloudml import plugins
from cloudml.emulation.lifecycle import Lifecycle
from cloudml.emulation.running import Running, start

PROVIDERS = ("sagemaker", "azureml", "vertex")
LOOKS = Lifecycle(reads=2)  # by looks and not by seconds: a stalled machine hides no state


def started(provider: str, **how: Any) -> Callable[[], Running]:
    return lambda: start([plugins.emulator(provider)], **how)


COLUMNS = (
    *(Column(name, Throttled(), started(name)) for name in PROVIDERS),
    *(Column(name, Slow(), started(name, lifecycle=LOOKS)) for name in PROVIDERS),
)
