"""Labels as tags, and what AWS says about both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from cloudml.spi import Call, Caller, Effect, Later
from cloudml_sagemaker.account import Clients
from cloudml_sagemaker.limits import check_tags

ID, KIND, STACK, HASH, PREVIOUS = "cloudml-id", "cloudml-kind", "cloudml-stack", "cloudml-hash", "cloudml-prev"
REACHED = (HASH, PREVIOUS)  # they name what has been reached, so they are written last


def tags(labels: Mapping[str, str | Later], where: str) -> list[dict[str, str | Later]]:
    """Labels as a request's ``Tags``, in order."""
    check_tags(labels, where)
    return [{"Key": key, "Value": value} for key, value in sorted(labels.items())]


def labels_of(found: Iterable[Mapping[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in found}


def base(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels that say whose and which a resource is."""
    return {key: value for key, value in labels.items() if key not in REACHED}


def lacks(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return not wanted.items() <= labels.items()


def add_tags(arn: str | Later, target: str, labels: Mapping[str, str | Later], why: str) -> Call:
    document = {"ResourceArn": arn, "Tags": tags(labels, target)}
    return Call("AddTags", target, document, why, Effect.UPDATE)


class Tags:
    """Reads tags; those of things whose tags never change are read once."""

    def __init__(self, clients: Clients, caller: Caller) -> None:
        self._clients = clients
        self._call = caller
        self._known: dict[tuple[str, datetime], dict[str, str]] = {}

    def of(self, arn: str) -> dict[str, str]:
        """The tags of a resource now; none if it is gone."""
        sagemaker = self._clients["sagemaker"]
        found = self._call.find("ListTags", lambda: list(pages(sagemaker, "list_tags", "Tags", ResourceArn=arn)))
        return labels_of(found or ())

    def fixed(self, arn: str, created: datetime) -> dict[str, str]:
        """The tags of a job, a model or a configuration, which are given once, when it is made."""
        if (arn, created) not in self._known:
            self._known[arn, created] = self.of(arn)
        return self._known[arn, created]

    def forget(self, arn: str) -> None:
        """They change after all: it is taken over."""
        for mark in [mark for mark in self._known if mark[0] == arn]:
            del self._known[mark]


def pages(client: Any, operation: str, member: str, **asked: Any) -> Iterator[dict[str, Any]]:
    """Every item of a paged list."""
    for page in client.get_paginator(operation).paginate(**asked):
        yield from page.get(member, ())
