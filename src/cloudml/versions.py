"""A version put away, brought back, or removed, and a family removed; never what somebody relies on."""

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


def delete_family(session: Session, family: str) -> None:
    """Removes a family with its versions and what is recorded of them. Conflict if an endpoint serves one of them."""
    key = Key("model", family, session.stack)
    if session.provider.models.observe(key, None) is not None:
        _refuse_serving(session, f"model {family}", family, None)
    session.pursue(session.absent(session.provider.models, key))
    session.pursue(session.absent_content(sidecars.folder(session.stack, family)))


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
    _refuse_serving(session, text, version.family, version.hash)


def _refuse_serving(session: Session, text: str, family: str, digest: str | None) -> None:
    """Conflict if an endpoint of the stack serves it: a server that is started again would find no files."""
    if serving := sorted(_serving(session, family, digest)):
        way = (
            f"deploy another {'version' if digest else 'model'} there first, or 'cloudml endpoints delete {serving[0]}'"
        )
        raise Conflict(f"{text} serves at endpoint {', '.join(serving)}", hint=way)


def _serving(session: Session, family: str, digest: str | None) -> Iterator[str]:
    """The endpoints of the stack whose deployments name the version; without a digest, any of the family."""
    for state in session.provider.endpoints.list(session.stack):
        spec = session.remembered(state, HASH)
        models = [each.model for each in spec.deployments.values()] if isinstance(spec, Endpoint) else []
        if any(of == family and digest in (None, known) for of, _, known in map(split_reference, models)):
            yield state.key.name


__all__ = ["archive", "delete", "delete_family", "unarchive"]
