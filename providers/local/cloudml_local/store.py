"""The registry of model families and their versions, in SQLite. What ``models`` calls its native service.

A connection is opened for each operation: nothing is shared between threads, and nothing stays open.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloudml.errors import AlreadyExists, NotFound

SCHEMA_VERSION = 3
SCHEMA = """
CREATE TABLE IF NOT EXISTS families (
    name TEXT PRIMARY KEY, owner TEXT NOT NULL, labels TEXT NOT NULL, created REAL NOT NULL,
    last INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS versions (
    family TEXT NOT NULL REFERENCES families (name) ON DELETE CASCADE,
    version INTEGER NOT NULL, hash TEXT NOT NULL, uri TEXT NOT NULL, run TEXT, metrics TEXT NOT NULL,
    approval TEXT, description TEXT NOT NULL, created REAL NOT NULL, digest TEXT, archived INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (family, version), UNIQUE (family, hash)
);
CREATE TABLE IF NOT EXISTS aliases (
    family TEXT NOT NULL, alias TEXT NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (family, alias),
    FOREIGN KEY (family, version) REFERENCES versions (family, version) ON DELETE CASCADE
);
"""
ADDED = {  # what turns a version of the schema into the next
    1: "ALTER TABLE versions ADD COLUMN digest TEXT;",
    2: """
ALTER TABLE versions ADD COLUMN archived INTEGER NOT NULL DEFAULT 0;
ALTER TABLE families ADD COLUMN last INTEGER NOT NULL DEFAULT 0;
UPDATE families SET last = (SELECT COALESCE(MAX(version), 0) FROM versions WHERE family = name);
""",
}
SYNCHRONOUS = "NORMAL"  # in WAL mode: a power cut may lose the last write, and harms nothing before it
BUSY = 10.0  # seconds that a write waits for another process's


@dataclass(frozen=True)
class Version:
    """One immutable version; ``aliases``, ``approval`` and ``archived`` can change."""

    number: int
    hash: str
    uri: str
    run: str | None
    metrics: Mapping[str, float]
    approval: str | None
    description: str
    created: float
    archived: bool
    aliases: tuple[str, ...]


@dataclass(frozen=True)
class Family:
    name: str
    owner: str
    labels: Mapping[str, str]
    created: float
    versions: tuple[Version, ...]


class Store:
    """One ``registry.db``; several processes may share it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def family(self, name: str) -> Family:
        """Raises NotFound."""
        found = self.families(name)
        if not found:
            raise NotFound(f"there is no model family {name!r}")
        return found[0]

    def families(self, name: str | None = None) -> list[Family]:
        """All families by name, or the one of that name."""
        if not self._path.exists():
            return []
        with self._open() as db, _transaction(db, "BEGIN"):
            rows = db.execute(
                "SELECT * FROM families WHERE :name IS NULL OR name = :name ORDER BY name", {"name": name}
            ).fetchall()
            return [
                Family(row["name"], row["owner"], json.loads(row["labels"]), row["created"], _versions(db, row["name"]))
                for row in rows
            ]

    def create_family(self, name: str, owner: str, labels: Mapping[str, str]) -> None:
        """Raises AlreadyExists."""
        row = (name, owner, json.dumps(dict(labels)), time.time())
        with self._write() as db:
            if not db.execute("INSERT OR IGNORE INTO families VALUES (?, ?, ?, ?, 0)", row).rowcount:
                raise AlreadyExists(f"model family {name!r} exists already")

    def set_labels(self, name: str, owner: str, labels: Mapping[str, str]) -> None:
        """Raises NotFound."""
        with self._write() as db:
            row = (owner, json.dumps(dict(labels)), name)
            _one(db.execute("UPDATE families SET owner = ?, labels = ? WHERE name = ?", row), f"model family {name!r}")

    def digest(self, family: str, hash: str) -> str | None:
        """What the files of a version were when it was registered; None if there is no such version."""
        if not self._path.exists():
            return None
        with self._open() as db:
            row = db.execute("SELECT digest FROM versions WHERE family = ? AND hash = ?", (family, hash)).fetchone()
            return row["digest"] if row else None

    def create_version(
        self, family: str, request: Mapping[str, Any], metrics: Mapping[str, float], digest: str | None = None
    ) -> int:
        """The next version of a family; a number is used once. NotFound, or AlreadyExists if one has that hash."""
        with self._write() as db:
            found = db.execute("SELECT last FROM families WHERE name = ?", (family,)).fetchone()
            if not found:
                raise NotFound(f"there is no model family {family!r}")
            number = int(found["last"]) + 1
            row = (
                *(family, number, request["hash"], request["uri"], request["run"], json.dumps(dict(metrics))),
                *(request["approval"], request["description"], time.time(), digest),
            )
            if not db.execute("INSERT OR IGNORE INTO versions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)", row).rowcount:
                raise AlreadyExists(f"{family} has a version with hash {request['hash']} already")
            db.execute("UPDATE families SET last = ? WHERE name = ?", (number, family))
            return number

    def set_alias(self, family: str, alias: str, hash: str) -> None:
        """Moves an alias to the version with that hash. Raises NotFound."""
        query = "INSERT OR REPLACE INTO aliases SELECT family, ?, version FROM versions WHERE family = ? AND hash = ?"
        with self._write() as db:
            _one(db.execute(query, (alias, family, hash)), f"version of {family!r} with hash {hash}")

    def set_approval(self, family: str, hash: str, approval: str) -> None:
        """Raises NotFound."""
        query = "UPDATE versions SET approval = ? WHERE family = ? AND hash = ?"
        with self._write() as db:
            _one(db.execute(query, (approval, family, hash)), f"version of {family!r} with hash {hash}")

    def set_archived(self, family: str, hash: str, archived: bool) -> None:
        """Raises NotFound."""
        query = "UPDATE versions SET archived = ? WHERE family = ? AND hash = ?"
        with self._write() as db:
            _one(db.execute(query, (archived, family, hash)), f"version of {family!r} with hash {hash}")

    def delete_version(self, family: str, hash: str) -> None:
        """With its aliases. Raises NotFound."""
        query = "DELETE FROM versions WHERE family = ? AND hash = ?"
        with self._write() as db:
            _one(db.execute(query, (family, hash)), f"version of {family!r} with hash {hash}")

    def delete_family(self, name: str) -> None:
        """With its versions and aliases. Raises NotFound."""
        with self._write() as db:
            _one(db.execute("DELETE FROM families WHERE name = ?", (name,)), f"model family {name!r}")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._path, timeout=BUSY, isolation_level=None)) as db:
                self._prepare(db)
                yield db
        except sqlite3.DatabaseError as error:
            error.add_note(str(self._path))  # SQLite does not say which file it cannot open or write
            raise

    @staticmethod
    def _prepare(db: sqlite3.Connection) -> None:
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA foreign_keys = ON")
        db.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
        if db.execute("PRAGMA user_version").fetchone()[0] < SCHEMA_VERSION:
            db.execute("PRAGMA journal_mode = WAL")
            with _transaction(db, "BEGIN IMMEDIATE"):
                _migrate(db)

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as db, _transaction(db, "BEGIN IMMEDIATE"):
            yield db


def _migrate(db: sqlite3.Connection) -> None:
    found = db.execute("PRAGMA user_version").fetchone()[0]  # another process may have been faster
    steps = SCHEMA if not found else "".join(ADDED[version] for version in range(found, SCHEMA_VERSION))
    for statement in filter(str.strip, steps.split(";")):
        db.execute(statement)
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


@contextmanager
def _transaction(db: sqlite3.Connection, begin: str) -> Iterator[None]:
    db.execute(begin)
    try:
        yield
    except BaseException:
        if db.in_transaction:  # a full disk has rolled it back already
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _one(cursor: sqlite3.Cursor, what: str) -> None:
    if not cursor.rowcount:
        raise NotFound(f"there is no {what}")


def _versions(db: sqlite3.Connection, family: str) -> tuple[Version, ...]:
    aliases: dict[int, list[str]] = {}
    for row in db.execute("SELECT alias, version FROM aliases WHERE family = ? ORDER BY alias", (family,)):
        aliases.setdefault(row["version"], []).append(row["alias"])
    return tuple(
        Version(
            *(row["version"], row["hash"], row["uri"], row["run"], json.loads(row["metrics"])),
            *(row["approval"], row["description"], row["created"], bool(row["archived"])),
            tuple(aliases.get(row["version"], ())),
        )
        for row in db.execute("SELECT * FROM versions WHERE family = ? ORDER BY version", (family,))
    )
