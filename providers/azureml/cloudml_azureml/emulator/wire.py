"""Azure's way of speaking HTTP: an id on every answer, refusals that are documents, bodies of a bounded size."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace

from cloudml.emulation import http
from cloudml.emulation.http import Answer, Server
from cloudml_azureml.emulator.answers import Request

LARGEST = 100 * 1024 * 1024  # bytes of one body; blobs do not come this way
REFUSALS = {
    http.TOO_LARGE: Answer(413, {"error": {"code": "RequestEntityTooLarge", "message": "The body is too large."}}),
    http.MALFORMED: Answer(400, {"error": {"code": "BadRequest", "message": "The body's length is not a number."}}),
}


def serve(respond: Callable[[Request], Answer | None]) -> Server:
    """A server on a free port; None ends the connection without an answer."""

    def identified(asked: http.Request) -> Answer | None:
        answer = respond(Request(asked.method, asked.target, asked.headers, asked.body))
        return answer and replace(answer, headers={"x-ms-request-id": str(uuid.uuid4()), **answer.headers})

    return Server(identified, "azureml", REFUSALS, LARGEST)
