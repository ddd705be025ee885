"""One version of a family put away, brought back, or removed; never one that somebody relies on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

from cloudml import sidecars
from cloudml.artifacts import Content, read_document
from cloudml.capabilities import demand
from cloudml.errors import Conflict
from cloudml.goals import Session, split_reference
from cloudml.labels import HASH
from cloudml.specs import Endpoint
from cloudml.spi import Capability, Reference
from cloudml.states import Key, Phase


def archive(session: Session, version: Reference) -> None:
    """Puts a version away: its files stay, it is neither the newest nor deployed. Conflict if it is relied on."""
    demand(session.plugin, Capability.MODELS_ARCHIVE, "archive a version")
    _refuse_used(session, version)
    session.pursue(session.version(version.family, version.hash, Phase.ARCHIVED))


def unarchive(session: Session, version: Reference) -> None:
    """Brings an archived version back."""
    demand(session.plugin, Capability.MODELS_ARCHIVE, "bring a version back")
    session.pursue(session.version(version.family, version.hash, Phase.READY))


def delete(session: Session, version: Reference) -> None:
    """Removes a version and what is recorded of it; its number is not used again. Conflict if it is relied on."""
    demand(session.plugin, Capability.MODELS_DELETE_VERSION, "delete one version")
    _refuse_used(session, version)
    session.pursue(session.version(version.family, version.hash, None))
    for place in (sidecars.key, sidecars.image_key):
        session.pursue(session.absent_content(place(session.stack, version.family, version.hash)))


def image(session: Session, version: Reference) -> str | None:
    """The image that was built with a version and pushed last, named by its digest; None if there is none."""
    place = sidecars.image_key(session.stack, version.family, version.hash)
    found = read_document(session.provider.artifacts, place) or {}
    return found.get("image")


def record_image(session: Session, version: Reference, name: str) -> None:
    """Keeps which image was built with a version and pushed: ``registry/name@sha256:…``."""
    place = sidecars.image_key(session.stack, version.family, version.hash)
    body = json.dumps({"schema_version": 1, "image": name}).encode()
    session.pursue(session.content(Content(place, lambda: body, f"sha256:{hashlib.sha256(body).hexdigest()}")))


def _refuse_used(session: Session, version: Reference) -> None:
    text = f"model {version.family}:{version.version}"
    have = session.provider.models.observe(Key("model", version.family, session.stack), None)
    part = have.part("version", spec=version.hash) if have else None
    if part and (aliases := part.facts.get("aliases")):
        way = f"move it first: 'cloudml models alias {version.family} {aliases[0]} --version N'"
        raise Conflict(f"{text} has the alias {', '.join(aliases)}", hint=way)
    if serving := sorted(_serving(session, version)):
        way = f"deploy another version there first, or 'cloudml endpoints delete {serving[0]}'"
        raise Conflict(f"{text} serves at endpoint {', '.join(serving)}", hint=way)


def _serving(session: Session, version: Reference) -> Iterator[str]:
    """The endpoints of the stack whose deployments name the version."""
    for state in session.provider.endpoints.list(session.stack):
        spec = session.remembered(state, HASH)
        models = [each.model for each in spec.deployments.values()] if isinstance(spec, Endpoint) else []
        if any(split_reference(model)[::2] == (version.family, version.hash) for model in models):
            yield state.key.name


__all__ = ["archive", "delete", "unarchive"]
