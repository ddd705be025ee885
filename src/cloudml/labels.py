"""What a resource is labelled with: whose it is, which it is, what it runs and what it ran before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloudml import specs
from cloudml.errors import Conflict
from cloudml.spi import Goal, Reference, Subject, Until, Want
from cloudml.states import EMPTY, Key, Part, Phase, State

JOB = "job"
HASH, PREVIOUS = "cloudml-hash", "cloudml-prev"


def present(
    key: Key,
    want: specs.Spec,
    have: State | None,
    references: Mapping[str, Reference] = EMPTY,
    until: Until = Until.DONE,
    subject: Subject | None = None,
) -> Goal[Any]:
    """The goal that a want is there; ``have`` is one look, taken before the loop, which tells what ran before."""
    return Goal(key, want, until=until, labels=_labels(key, want, have), references=references, subject=subject)


def label(want: specs.Spec) -> str:
    """What ``cloudml-hash`` says: the hash of what runs; for an endpoint, followed by that of its whole spec."""
    spec = specs.spec_hash(want)
    return f"{spec}-{specs.hash8(specs.document(want))}" if isinstance(want, specs.Endpoint) else spec


def _labels(key: Key, want: specs.Spec, have: State | None) -> dict[str, str]:
    """The user's own labels, and ours: whose, which, what runs (not of a family), and what an endpoint was before."""
    spec, was = label(want), have.labels if have and isinstance(want, specs.Endpoint) else EMPTY
    before = was.get(HASH) if was.get(HASH) != spec else was.get(PREVIOUS)
    name = key.name.rsplit("-", 2)[0] if key.kind == JOB else key.name
    labels = {"stack": key.stack, "kind": key.kind, "name": name, "id": key.name, "hash": spec, "prev": before}
    if isinstance(want, specs.Model):
        del labels["hash"]
    own = want.labels if isinstance(want, specs.Native) else EMPTY
    return {**own, **{f"cloudml-{what}": value for what, value in labels.items() if value}}


def refuse_archived(family: str, version: Part) -> None:
    """Conflict for a version that somebody has put away: it is neither registered again, renamed nor deployed."""
    if version.phase is Phase.ARCHIVED:
        text = f"{family}:{version.name}"
        raise Conflict(f"model {text} is archived", hint=f"bring it back by 'cloudml models unarchive {text}'")


def refuse_foreign(goal: Goal[Want], have: State | None, adopt: bool) -> None:
    """Conflict if what is there carries another stack's label, or none, and is not to be taken over.

    Also for a version of a model that is wanted and archived.
    """
    if have is not None and isinstance(goal.want, specs.Model):
        found = have.part("version", spec=specs.spec_hash(goal.want))
        if found:
            refuse_archived(goal.key.name, found)
    if have is None or adopt or have.owner == goal.key.stack:
        return
    if have.owner is None and have.phase is Phase.CREATING and have.working:
        return  # only an operation is seen, which carries no label: whose it is shows when it has ended
    there = f"work in {have.owner!r} (its file's folder, or connect(project=, env=)), or " if have.owner else ""
    hint = f"{there}take it over by 'cloudml apply --adopt'"
    whose = f"belongs to stack {have.owner!r}" if have.owner else "was not made by cloudml"
    raise Conflict(f"{goal.key} {whose}, not to {goal.key.stack!r}", hint=hint)
