"""The ledger's own schema, brought up to date by numbered SQL files, each applied once and in order."""

from __future__ import annotations

from hashlib import sha256
from importlib.resources import files
from typing import Final

import psycopg
from psycopg import sql

from strangler.ledger.errors import LedgerError

# Any fixed number does, as long as nobody else takes this advisory lock in the control database.
_LOCK: Final = 0x7374_7261_6E67
_UPGRADES: Final = files("strangler.ledger") / "upgrades"


def upgrade(connection: psycopg.Connection) -> list[str]:
    """Apply the upgrades that are missing, all in one transaction, and return their names.

    Raises ``LedgerError`` when one that was applied has been edited since.
    """
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
        connection.execute("create schema if not exists strangler")
        connection.execute(
            "create table if not exists strangler.upgrade"
            " (name text primary key, digest text not null, at timestamptz not null default clock_timestamp())"
        )
        rows = connection.execute("select name, digest from strangler.upgrade").fetchall()
        applied: dict[str, str] = dict(rows)
        return [name for name, text in _upgrades() if _apply(connection, name, text, applied.get(name))]


def _upgrades() -> list[tuple[str, str]]:
    found = (each for each in _UPGRADES.iterdir() if each.name.endswith(".sql"))
    return sorted((each.name, each.read_text(encoding="utf-8")) for each in found)


def _apply(connection: psycopg.Connection, name: str, text: str, applied: str | None) -> bool:
    digest = sha256(text.encode()).hexdigest()
    if applied == digest:
        return False
    if applied is not None:
        raise LedgerError(f"upgrade {name} was applied to this ledger in another wording; this release cannot use it")
    connection.execute(sql.SQL(text))
    connection.execute("insert into strangler.upgrade (name, digest) values (%s, %s)", [name, digest])
    return True
