"""The outline of a stream's source, read from its catalogue, and kept with the stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import psycopg
from psycopg.types.json import Jsonb

from strangler.sync import outline
from strangler.sync.landing import Landing
from strangler.sync.outline import Column, Outline, Table

_TABLES: Final = """
select c.oid::bigint, n.nspname || '.' || c.relname,
       (select jsonb_object_agg(attnum, jsonb_build_object('name', attname, 'type', atttypid::bigint,
          'modifier', atttypmod, 'shown', format_type(atttypid, atttypmod), 'not_null', attnotnull))
        from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped),
       (select coalesce(jsonb_agg((i.indkey::smallint[])[0:i.indnkeyatts - 1]), '[]') from pg_index i
        where i.indrelid = c.oid and i.indisunique and i.indisvalid and i.indpred is null and i.indexprs is null)
from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = any(%s)
"""


def read(source: psycopg.Connection, oids: Sequence[int]) -> dict[int, Table]:
    """Return what tables are like now, with all of their columns; those that are gone are left out."""
    return {
        oid: Table(name=name, columns=_columns(columns or {}), unique=tuple(map(frozenset, unique)))
        for oid, name, columns, unique in source.execute(_TABLES, [list(oids)])
    }


def _columns(found: Mapping[str, Any]) -> dict[int, Column]:
    return {int(number): Column(**each) for number, each in sorted(found.items(), key=lambda each: int(each[0]))}


def outlined(source: psycopg.Connection, landings: Sequence[Landing]) -> dict[int, Table]:
    """Return what the tables of ``landings`` are like now, as far as these use them."""
    there = read(source, [each.projection.source.oid for each in landings])
    used: dict[int, set[str]] = {}
    key: dict[int, set[str]] = {}
    for each in landings:
        oid = each.projection.source.oid
        used.setdefault(oid, set()).update(each.columns)
        key.setdefault(oid, set()).update(each.projection.mapping.key.values())
    return {
        oid: Table(
            name=table.name,
            columns={number: each for number, each in table.columns.items() if each.name in used[oid]},
            key=frozenset(number for number, each in table.columns.items() if each.name in key[oid]),
            unique=table.unique,
        )
        for oid, table in there.items()
    }


def prove(source: psycopg.Connection, kept: Outline | None, where: str) -> None:
    """Raise ``StreamBroken`` with everything that is not as it was kept, if anything was."""
    if kept is not None:
        outline.prove(kept, read(source, [*kept]), where)


def as_it_is(source: psycopg.Connection, found: Outline) -> bool:
    """Return whether the catalogue still has every column of ``found`` as it is there."""
    now = read(source, [*found])
    return all(
        oid in now and now[oid].columns.get(number) == column
        for oid, table in found.items()
        for number, column in table.columns.items()
    )


# --- as it is kept ---


def kept(stored: Any) -> dict[int, Table] | None:
    """Return what ``dumped`` made, None where nothing was kept."""
    if stored is None:
        return None
    return {
        int(oid): Table(
            name=each["name"],
            columns=_columns(each["columns"]),
            key=frozenset(each["key"]),
            unique=tuple(map(frozenset, each["unique"])),
        )
        for oid, each in stored.items()
    }


def dumped(found: Outline) -> Jsonb:
    return Jsonb(
        {
            oid: {
                "name": each.name,
                "key": sorted(each.key),
                "unique": [sorted(names) for names in each.unique],
                "columns": {number: asdict(column) for number, column in each.columns.items()},
            }
            for oid, each in found.items()
        }
    )
