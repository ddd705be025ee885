"""Every answer of an emulated resource manager, whoever asked, against the service's own models."""

from __future__ import annotations

from collections import Counter
from typing import Any
from urllib.parse import unquote

from cloudml.emulation.http import Answer
from cloudml_azureml.emulator.answers import Request
from cloudml_azureml.emulator.arm import WORKSPACE
from cloudml_azureml.emulator.cloud import AzureML
from cloudml_azureml.emulator.schemas import MODELS, answered

MISFITS: list[str] = []  # of all emulators of this process, until a test has looked at them
CHECKED: Counter[tuple[str, str]] = Counter()  # answers, by kind and api-version


class Watched(AzureML):
    """An Azure ML whose answers are looked at before they go out."""

    def respond(self, request: Request) -> Answer | None:
        answer = super().respond(request)
        if answer is not None and request.host == "management.azure.com":
            look(request, answer)
        return answer


def look(request: Request, answer: Answer) -> None:
    """Remembers what is wrong with an answer that shows resources of a kind whose model is known."""
    found = WORKSPACE.fullmatch(unquote(request.path))
    if request.method not in ("GET", "PUT") or answer.status not in (200, 201) or not (found and found[4]):
        return
    kinds, version = found[4].strip("/").split("/")[::2], request.query["api-version"].lower()
    kind = kinds[0] if kinds[-1] == "versions" else f"{kinds[-1]}/" if f"{kinds[-1]}/" in MODELS else kinds[-1]
    if version not in MODELS.get(kind, ()):
        return
    shown: list[Any] = answer.body.get("value", [answer.body])
    CHECKED[kind, version] += len(shown)
    for each in shown:
        MISFITS.extend(f"{request.method} {kind} {version}: {said}" for said in answered(kind, version, each))
