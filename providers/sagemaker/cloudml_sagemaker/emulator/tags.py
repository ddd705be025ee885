"""The operations on tags."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from cloudml_sagemaker.emulator.accounts import Document, Scope
from cloudml_sagemaker.emulator.problems import Refused, invalid

MOST = 50
PAGE = 50
VERSION = re.compile(r".*:model-package/[^/]+/\d+")


def _of(scope: Scope, arn: str) -> dict[str, str]:
    if VERSION.fullmatch(arn):
        raise invalid("Tags are not supported on versioned model packages: tag the model package group.")
    if arn not in scope.tags:
        raise Refused("ResourceNotFound", f"Could not find the resource {arn}.")
    return scope.tags[arn]


def check(tags: Iterable[Mapping[str, str]], there: Mapping[str, str] | None = None) -> None:
    """Raises Refused for tags that the cloud does not take, beside those that are there."""
    keys = [tag["Key"] for tag in tags]
    if len(set(keys)) < len(keys):
        raise invalid("Duplicate tag keys found. Please note that tag keys are case insensitive.")
    if any(key.lower().startswith("aws:") for key in keys):
        raise invalid("aws: prefixed tag key names are not allowed for external use.")
    if len({*keys, *(there or {})}) > MOST:
        raise invalid(f"The number of tags exceeds the limit of {MOST} for a resource.")


def add(scope: Scope, request: Document) -> Document:
    with scope.lock:
        there = _of(scope, request["ResourceArn"])
        check(request["Tags"], there)
        there.update({tag["Key"]: tag["Value"] for tag in request["Tags"]})
        return {"Tags": _listed(there)}


def list_all(scope: Scope, request: Document) -> Document:
    with scope.lock:
        found = _listed(_of(scope, request["ResourceArn"]))
    token = request.get("NextToken", "0")
    if not token.isdecimal():
        raise invalid("Invalid pagination token")
    start, size = int(token), int(request.get("MaxResults", PAGE))
    more = {"NextToken": str(start + size)} if len(found) > start + size else {}
    return {"Tags": found[start : start + size], **more}


def delete(scope: Scope, request: Document) -> Document:
    with scope.lock:
        there = _of(scope, request["ResourceArn"])
        for key in request["TagKeys"]:
            there.pop(key, None)
    return {}


def _listed(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


OPERATIONS = {"AddTags": add, "ListTags": list_all, "DeleteTags": delete}
