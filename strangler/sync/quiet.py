"""What is done before a fence is raised, so that it need not wait: who locks is named, autovacuum kept away."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Final

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from strangler.sync.blocking import Blocker, blockers
from strangler.sync.fenced import Table, fenced
from strangler.sync.fencing import Fence, as_owner, may_act, patiently, read
from strangler.sync.rights import rights

LONG_S: Final = 1.0
"""A writer whose transaction has been open for so long is not one of many that come and go."""
_OPTION: Final = "autovacuum_enabled"
# What a table says of itself, and what is said of its TOAST; None where nothing is, and the server's setting counts.
_SETTINGS: Final = """
select c.oid::bigint, t.oid is not null,
  (select option_value from pg_options_to_table(c.reloptions) where option_name = 'autovacuum_enabled'),
  (select option_value from pg_options_to_table(t.reloptions) where option_name = 'autovacuum_enabled')
from pg_class c left join pg_class t on t.oid = c.reltoastrelid where c.oid = any(%s) and c.relkind = 'r'
"""

Before = Mapping[str, Mapping[str, str | None]]
"""By a table's oid what its own setting was, and its TOAST's, if it has one; None where there was none."""


def lock_gates(connection: psycopg.Connection, fence: Fence, long_s: float = LONG_S) -> list[Blocker]:
    """Return who would keep this fence from being raised now: the oldest first, and those last whose age is hidden.

    Where it is, a second look after ``long_s`` seconds tells who has stayed.
    """
    tables = sorted(fenced(read(connection, fence)))
    found = blockers(connection, tables)
    hidden = {each.transaction for each in found if each.open_s is None and not each.kind.stays}
    stayed: set[str] = set()
    if hidden:
        time.sleep(long_s)
        stayed = hidden & {each.transaction for each in blockers(connection, tables)}
    return [
        each
        for each in found
        if each.kind.stays or each.transaction in stayed or (each.open_s is not None and each.open_s > long_s)
    ]


def quiet_autovacuum(connection: psycopg.Connection, fence: Fence) -> None:
    """Keep autovacuum from the tables, and remember what they said of it; who vacuums now gives way.

    Run again, it adds what is new, and what was remembered stays. Raises ``TimedOut``, ``RightMissing``.
    """
    with rights(connection):
        tables = fenced(read(connection, fence))
        found = _settings(connection, list(tables))
        may_act(connection, {tables[int(oid)].owner: tables[int(oid)].name for oid in found})
        # First: who is killed in between has remembered what it did not change, and not the other way round.
        connection.execute(
            "update strangler_sync.claim set autovacuum = %s || coalesce(autovacuum, '{}') where capability = %s",
            [Jsonb(found), fence.capability],
        )
        for oid, table in tables.items():
            if str(oid) in found:
                _set(connection, oid, table, dict.fromkeys(found[str(oid)], "off"))


def restore_autovacuum(connection: psycopg.Connection, fence: Fence) -> None:
    """Have the tables say of autovacuum what they said before; those that are gone are left out. Raises the same."""
    row = connection.execute(
        "select coalesce(autovacuum, '{}') from strangler_sync.claim where capability = %s", [fence.capability]
    ).fetchone()
    before: Before = row[0] if row else {}
    if not before:
        return
    with rights(connection):
        tables = read(connection, fence, map(int, before)).tables
        there = {int(oid): settings for oid, settings in before.items() if int(oid) in tables}
        may_act(connection, {tables[oid].owner: tables[oid].name for oid in there})
        for oid, settings in there.items():
            _set(connection, oid, tables[oid], settings)
    connection.execute("update strangler_sync.claim set autovacuum = null where capability = %s", [fence.capability])


def _settings(connection: psycopg.Connection, oids: list[int]) -> Before:
    return {
        str(oid): {"": of_table, **({"toast.": of_toast} if has_toast else {})}
        for oid, has_toast, of_table, of_toast in connection.execute(_SETTINGS, [oids])
    }


def _set(connection: psycopg.Connection, oid: int, table: Table, settings: Mapping[str, str | None]) -> None:
    statements = [sql.SQL("alter table {} {}").format(sql.SQL(table.name), change) for change in _changes(settings)]
    patiently(connection, [oid], table.name, lambda: as_owner(connection, table, statements))


def _changes(settings: Mapping[str, str | None]) -> Iterator[sql.Composed]:
    for prefix, value in settings.items():
        option = sql.SQL(f"{prefix}{_OPTION}")
        if value is None:
            yield sql.SQL("reset ({})").format(option)
        else:
            yield sql.SQL("set ({} = {})").format(option, sql.Literal(value))
