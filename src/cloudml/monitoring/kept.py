"""The document that is kept of one run of a monitor, whoever ran it: this machine, or a platform's own schedule."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from cloudml.monitoring.run import Comparison

SCHEMA_VERSION = 1


def of(endpoint: str, model: str, compared: Comparison) -> tuple[str, dict[str, Any]]:
    """Its name, which is the time now, and the document; ``model`` is the version whose baseline was used."""
    now = datetime.now(UTC)
    document = {
        "schema_version": SCHEMA_VERSION,
        "endpoint": endpoint,
        "time": now.isoformat(timespec="milliseconds"),
        "model": model,
        "report": compared.report.to_json(),
        "profile": compared.profile.to_json(),
    }
    return f"{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03}Z", document
