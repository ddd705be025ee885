"""What there is: the resources of every project and location, by name, as Google's own messages."""

from __future__ import annotations

import random
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from cloudml_vertex.emulator.problems import Problem, invalid, missing

PARENT = re.compile(r"projects/[a-z0-9][a-z0-9-]{1,62}/locations/[a-z0-9-]+")
PAGE = 100  # resources on a page that names no size
LARGEST_PAGE = 1000
ORDERS = ("display_name", "create_time", "update_time")
CLAUSE = re.compile(
    r"\s*(?P<field>[A-Za-z_]+(?:\.(?:[A-Za-z_][\w-]*|\"[^\"]+\"))?)\s*(?P<operator>!=|=|:)\s*(?P<value>\*|\"[^\"]*\"|[\w./-]+)\s*"
)


class World:
    """All of it, under one lock: a call sees no half of another."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._rows: dict[str, dict[str, Any]] = {}  # collection -> name -> message
        self._numbers = random.Random()

    def number(self) -> str:
        """A resource id as the service makes them: up to nineteen digits."""
        return str(self._numbers.randrange(10**17, 9 * 10**18))

    def rows(self, collection: str) -> dict[str, Any]:
        return self._rows.setdefault(collection, {})

    def get(self, collection: str, name: str) -> Any:
        """Raises Problem if it is not there."""
        found = self.rows(collection).get(name)
        if found is None:
            raise missing(name)
        return found

    def under(self, collection: str, parent: str) -> list[Any]:
        """Those of a parent, newest first."""
        found = [row for name, row in self.rows(collection).items() if name.startswith(f"{parent}/")]
        return sorted(found, key=lambda row: (row.create_time.seconds, row.create_time.nanos), reverse=True)

    def clear(self) -> None:
        with self.lock:
            self._rows.clear()


def check_parent(parent: str) -> str:
    if not PARENT.fullmatch(parent):
        raise invalid(f"Invalid resource name: {parent!r}; projects/PROJECT/locations/LOCATION is needed.")
    return parent


def stamp(message: Any, *fields: str) -> None:
    """Now, in those fields."""
    now = time.time_ns()
    for field in fields:
        getattr(message, field).FromNanoseconds(now)
    if hasattr(message, "etag"):
        message.etag = f"AMEw9y{uuid.uuid4().hex[:10]}"


def check_etag(given: str, there: Any) -> None:
    if given and given != there.etag:
        raise Problem("ABORTED", "The resource was changed meanwhile: its etag differs.")


# -- lists -----------------------------------------------------------------------------------------------------------


def page(request: Any, rows: Sequence[Any]) -> tuple[Sequence[Any], str]:
    """The page that a list asks for, and the next one's token; a token is where the page begins."""
    tests = list(clauses(request.filter)) if request.filter else []
    kept: Sequence[Any] = [row for row in rows if all(test(row) for test in tests)]
    if request.page_size < 0:
        raise invalid("page_size must not be negative.")
    if order := getattr(request, "order_by", ""):
        kept = ordered(kept, order)
    size = min(request.page_size or PAGE, LARGEST_PAGE)
    if request.page_token and not request.page_token.isdigit():
        raise invalid("The page token is not valid.")
    start = int(request.page_token or 0)
    return kept[start : start + size], str(start + size) if len(kept) > start + size else ""


def ordered(rows: Sequence[Any], order: str) -> Sequence[Any]:
    """By fields, the first one first; ``field desc`` turns it round."""
    for part in reversed(order.split(",")):
        field, _, way = part.strip().partition(" ")
        attribute = re.sub(r"(?<!^)(?=[A-Z])", "_", field).lower()
        if attribute not in ORDERS or way.strip() not in ("", "asc", "desc"):
            raise invalid(f"order_by {part.strip()!r} is not valid; by {', '.join(ORDERS)}, with desc or without.")
        rows = sorted(rows, key=lambda row: _place(getattr(row, attribute)), reverse=way.strip() == "desc")
    return rows


def _place(value: Any) -> Any:
    return value if isinstance(value, str) else (value.seconds, value.nanos)


def clauses(text: str) -> Iterator[Callable[[Any], bool]]:
    """A filter of clauses joined by AND: ``labels.key="v"``, ``labels.key:*``, ``display_name="x"``, ``state!="Y"``."""
    for part in re.split(r"\s+AND\s+|\s+(?=labels\.|display_name|displayName|state|name)", text.strip()):
        match = CLAUSE.fullmatch(part)
        if match is None:
            raise invalid(f"The filter is not valid, or not emulated: {part!r}")
        yield _clause(match["field"], match["operator"], match["value"].strip('"'))


def _clause(field: str, operator: str, value: str) -> Callable[[Any], bool]:
    name, _, key = field.partition(".")
    if key:
        label = key.strip('"')
        if operator == ":" and value == "*":
            return lambda row: label in row.labels
        return lambda row: (
            (row.labels.get(label) == value) is (operator != "!=") and (operator == "!=" or label in row.labels)
        )
    attribute = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    return lambda row: (_text(row, attribute) == value) is (operator != "!=")


def _text(row: Any, attribute: str) -> str:
    field = row.DESCRIPTOR.fields_by_name.get(attribute)
    if field is None:
        raise invalid(f"The filter names {attribute!r}, which {row.DESCRIPTOR.name} does not have.")
    value = getattr(row, attribute)
    if field.enum_type:
        return str(field.enum_type.values_by_number[value].name)
    return str(value).lower() if isinstance(value, bool) else str(value)
