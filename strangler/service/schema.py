"""Numbered SQL files, each applied once, in order, in a transaction, under a lock.

``0001_products.sql``, ``0002_...``: the file is the change. What was applied is recorded with a checksum, so an
applied file that was edited afterwards is refused instead of being silently different from the database. A
database that is ahead of the files (an older release runs again) is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources.abc import Traversable
from typing import Final

import psycopg

from strangler.service.errors import SchemaRefused

_NAME: Final = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
# Any constant does; the same in all versions, so that two releases starting at once wait for each other.
_LOCK: Final = 7_306_087_140_332_651_081

_RECORD: Final = """
CREATE TABLE IF NOT EXISTS schema_change (
    number integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One numbered file."""

    number: int
    name: str
    sql: bytes

    @property
    def checksum(self) -> str:
        return sha256(self.sql).hexdigest()


def changes_in(folder: Traversable) -> tuple[Change, ...]:
    """Return the changes of ``folder`` in order; raises ``SchemaRefused`` for a bad name or a number used twice."""
    found: dict[int, Change] = {}
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if not file.name.endswith(".sql"):
            continue
        match = _NAME.fullmatch(file.name)
        if match is None:
            raise SchemaRefused(f"{file.name} is no name for a change; write NNNN_words.sql, such as 0002_stock.sql")
        number = int(match[1])
        if number in found:
            raise SchemaRefused(f"{found[number].name} and {file.name} have the same number; give one the next")
        found[number] = Change(number=number, name=file.name, sql=file.read_bytes())
    return tuple(found[number] for number in sorted(found))


def pending(changes: Sequence[Change], applied: Mapping[int, str]) -> tuple[Change, ...]:
    """Return what is still to apply, given the checksums of what was; raises ``SchemaRefused`` when they disagree."""
    newest = max(applied, default=0)
    for change in changes:
        checksum = applied.get(change.number)
        if checksum is None and change.number < newest:
            raise SchemaRefused(f"{change.name} came after {newest:04} was applied; give it a number above {newest:04}")
        if checksum is not None and checksum != change.checksum:
            raise SchemaRefused(f"{change.name} was edited after it was applied; restore it, and write a new file")
    return tuple(change for change in changes if change.number not in applied)


def upgrade(url: str, folder: Traversable) -> tuple[str, ...]:
    """Apply what is pending and return its names. Raises ``SchemaRefused``; what came before the failure stays."""
    changes = changes_in(folder)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        connection.execute("SET client_min_messages = warning")
        connection.execute(_RECORD)
        rows = connection.execute("SELECT number, checksum FROM schema_change").fetchall()
        todo = pending(changes, dict(rows))
        for change in todo:
            _apply(connection, change)
    return tuple(change.name for change in todo)


def _apply(connection: psycopg.Connection[tuple[object, ...]], change: Change) -> None:
    try:
        with connection.transaction():
            connection.execute(change.sql)
            connection.execute(
                "INSERT INTO schema_change (number, name, checksum) VALUES (%s, %s, %s)",
                (change.number, change.name, change.checksum),
            )
    except psycopg.Error as error:
        raise SchemaRefused(f"{change.name} failed and was rolled back: {error}") from error
