"""Lists, as all of SageMaker's are: filtered by name, times and state, sorted, and in pages."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cloudml_sagemaker.emulator.accounts import Document
from cloudml_sagemaker.emulator.problems import invalid

PAGE = 10  # the cloud's default
MOST = 100
TIMES = {"CreationTime": "CreationTime", "LastModifiedTime": "LastModifiedTime", "ScheduledTime": "ScheduledTime"}


def listed(
    request: Mapping[str, Any],
    found: Iterable[Document],
    member: str,
    name: str,
    equal: Mapping[str, str] | None = None,
    sort: str = "CreationTime",
) -> Document:
    """The page that ``request`` asks for, of ``found``, as ``member``.

    ``name`` is the member that holds a summary's name; ``equal`` maps a filter of the request to the member that it
    must equal. Sorting is descending by creation where the request says nothing.
    """
    kept = [each for each in found if _fits(request, each, name, equal or {})]
    by = {"Name": name, "Status": _status(kept)}.get(request.get("SortBy", sort), request.get("SortBy", sort))
    backwards = request.get("SortOrder", "Descending" if by in TIMES else "Ascending") == "Descending"
    kept.sort(key=lambda each: (each.get(by) is None, each.get(by), each.get(name, "")), reverse=backwards)
    start, size = _start(request), int(request.get("MaxResults", PAGE))
    if not 1 <= size <= MOST:
        raise invalid(f"1 validation error detected: Value '{size}' at 'maxResults' must be between 1 and {MOST}")
    page = kept[start : start + size]
    more = {"NextToken": _token(start + size)} if len(kept) > start + size else {}
    return {member: page, **more}


def _fits(request: Mapping[str, Any], each: Document, name: str, equal: Mapping[str, str]) -> bool:
    if request.get("NameContains", "").lower() not in str(each.get(name, "")).lower():
        return False
    for member, shown in TIMES.items():
        stamp = each.get(shown)
        after, before = request.get(f"{member}After"), request.get(f"{member}Before")
        if (after is not None and (stamp is None or stamp < after)) or (
            before is not None and (stamp is None or stamp > before)
        ):
            return False
    return all(member not in request or each.get(shown) == request[member] for member, shown in equal.items())


def _status(found: Sequence[Document]) -> str:
    return next((member for each in found[:1] for member in each if member.endswith("Status")), "Status")


def _token(start: int) -> str:
    return base64.urlsafe_b64encode(json.dumps({"start": start}).encode()).decode()


def _start(request: Mapping[str, Any]) -> int:
    if not (token := request.get("NextToken")):
        return 0
    try:
        return int(json.loads(base64.urlsafe_b64decode(token))["start"])
    except (ValueError, KeyError, TypeError) as error:
        raise invalid("Invalid pagination token") from error
