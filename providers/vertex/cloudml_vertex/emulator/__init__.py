"""A Vertex AI on this machine: its real wire APIs in front, real processes behind. It does not know the adapter."""

from __future__ import annotations

from collections.abc import Mapping

from cloudml.emulation import Cloud, Emulator, Evidence, Site


def _start(site: Site) -> Cloud:
    from cloudml_vertex.emulator.cloud import start

    return start(site)


def _evidence() -> Mapping[str, Evidence]:
    from cloudml_vertex.emulator.evidence import EVIDENCE

    return EVIDENCE


emulator = Emulator("vertex", _start, _evidence)
