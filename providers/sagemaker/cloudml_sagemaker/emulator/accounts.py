"""What the emulated SageMaker holds: per account and region, tables of resources, their tags and their counters."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloudml.emulation import Site
    from cloudml_sagemaker.emulator.services import Services

Document = dict[str, Any]


@dataclass(frozen=True)
class Timing:
    """How long the emulated cloud takes for what it does by itself, in seconds. A program's own limits stay as given.

    ``grace`` is between SIGTERM and SIGKILL of a training (the cloud: 120 s), ``minute`` is what one minute of a
    deployment's waiting takes, ``hour`` an hour of a monitoring schedule, ``health`` the share of the time that a
    container has for its first /ping (the cloud: 480 s, or as the variant says). Checkpoints are copied ``every``
    so often, and logs, metrics and captured records stored every ``flush``.
    """

    grace: float = 20.0
    minute: float = 1.0
    hour: float = 20.0
    health: float = 0.125
    every: float = 0.5
    flush: float = 0.25
    tick: float = 0.02


@dataclass
class World:
    """One emulated AWS: where it runs, its other services, and whether it still runs."""

    site: Site
    services: Services
    timing: Timing
    partition: str = "aws"
    local: Callable[[str], str] = str  # the name by which an engine gets an image that was pushed to ECR
    calls: dict[str, Counter[str]] = field(default_factory=partial(defaultdict, Counter))  # by account
    ending: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)
    scopes: dict[tuple[str, str], Scope] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def scope(self, account: str, region: str) -> Scope:
        """The part of the world that one account sees in one region."""
        with self.lock:
            return self.scopes.setdefault((account, region), Scope(self, account, region))

    def spawn(self, name: str, work: Callable[[], None]) -> threading.Thread:
        """Does ``work`` beside; `close` waits for its end."""
        thread = threading.Thread(target=work, name=name, daemon=True)
        with self.lock:
            self.threads = [each for each in self.threads if each.is_alive()]
            self.threads.append(thread)
        thread.start()
        return thread

    def count(self, account: str, operation: str) -> None:
        """One call by a program."""
        with self.lock:
            self.calls[account][operation] += 1

    def sleep(self, seconds: float) -> bool:
        """Waits; True if the emulator is being closed, and then it waits no longer than a tick."""
        if self.ending.wait(seconds):
            time.sleep(min(seconds, self.timing.tick))
        return self.ending.is_set()


@dataclass
class Scope:
    """One account in one region. ``table(kind)`` holds its resources by name; whoever changes them holds ``lock``."""

    world: World
    account: str
    region: str
    tables: dict[str, dict[str, Any]] = field(default_factory=partial(defaultdict, dict))
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def table(self, kind: str) -> dict[str, Any]:
        return self.tables[kind]

    def arn(self, kind: str, name: str) -> str:
        return f"arn:{self.world.partition}:sagemaker:{self.region}:{self.account}:{kind}/{name}"

    def tag(self, arn: str, tags: list[Mapping[str, str]] | None) -> None:
        """What a create call says of tags."""
        self.tags[arn] = {tag["Key"]: tag["Value"] for tag in tags or ()}

    def place(self, kind: str, name: str) -> str:
        """An id for containers and folders, of letters that every engine takes."""
        return f"{kind}-{self.account}-{self.region}-{name}"


def now() -> float:
    """The time as AWS's JSON has it: seconds, to the millisecond."""
    return round(time.time(), 3)


def known(document: Mapping[str, Any], names: Any) -> Document:
    """The members of ``document`` that an answer has, without those that are not set."""
    return {name: document[name] for name in names if document.get(name) is not None}
