"""SageMaker's capture records as neutral ones: rows in, answers out."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from cloudml import payloads
from cloudml.states import Captured


def parse(record: Mapping[str, Any], variant: str) -> Captured:
    """One line of a capture file, as the developer guide has it (``captureData``, ``eventMetadata``)."""
    data, about = record["captureData"], record["eventMetadata"]
    inputs, names = _rows(data.get("endpointInput", {}))
    outputs, _ = _rows(data.get("endpointOutput", {}))
    return Captured(
        id=about.get("inferenceId") or about["eventId"],
        time=about["inferenceTime"].replace("Z", "+00:00"),
        inputs=inputs,
        outputs=outputs,
        names=names,
        deployment=variant,
    )


def _rows(side: Mapping[str, Any]) -> payloads.Rows:
    """The rows of a body, and its columns' names if it says them; none where it is neither JSON nor CSV."""
    text, encoding = side.get("data", ""), side.get("encoding", "")
    kind = str(side.get("observedContentType", "")).partition(";")[0].strip()
    if encoding == "BASE64":
        text = base64.b64decode(text).decode("utf-8", "replace")
    if encoding == "CSV" or kind == "text/csv":
        return payloads.of_csv(text)
    if kind == "application/jsonlines":
        return payloads.of_json_lines(text)
    return payloads.of_json(json.loads(text)) if encoding == "JSON" or kind == "application/json" else ([], None)
