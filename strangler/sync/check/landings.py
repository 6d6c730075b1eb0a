"""Whether a stream can land what it brings: the target works its expressions out, of what the source sends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import psycopg
from psycopg import sql

from strangler.sync.catalogue import identifier
from strangler.sync.check.finding import Finding, stop, warn
from strangler.sync.direction import Direction
from strangler.sync.errors import MappingInvalid
from strangler.sync.landing import Landing, land
from strangler.sync.mapping import Projection
from strangler.sync.reacting import unknown

_LONG: Final = """
select array(select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and a.attlen = -1
             and a.attstorage in ('x', 'e') and a.attgenerated = '' and not a.attisdropped)
from pg_class c where c.oid = %s and c.relreplident <> 'f'
"""


def judge_landings(
    direction: Direction, projections: Sequence[Projection], source: psycopg.Connection, target: psycopg.Connection
) -> Iterator[Finding]:
    """Yield what a stream of ``direction`` would stop at."""
    yield from (stop(direction.file, each) for each in unknown(target, direction))
    with target.transaction(force_rollback=True):
        for number, each in enumerate(projections):
            try:
                yield from _mixed(direction, land(each, number, target), source)
            except MappingInvalid as exc:
                yield from (stop(direction.file, problem) for problem in exc.problems)


def _mixed(direction: Direction, landing: Landing, source: psycopg.Connection) -> Iterator[Finding]:
    """Yield the columns that are made of a long value and of others: unchanged, the source leaves such a value out."""
    table = landing.projection.source
    row = source.execute(_LONG, [table.oid]).fetchone()
    long = frozenset(row[0]) if row else frozenset()
    mixed = [name for name, used in landing.uses.items() if (used & long and not used <= long) or len(used & long) > 1]
    if mixed:
        full = sql.SQL("alter table {} replica identity full").format(identifier(table.name)).as_string(None)
        yield warn(
            direction.source,
            f"{', '.join(mixed)} of {landing.projection.target.name} mixes a long value of {table.name} with others:"
            " one that does not change is left out by the source, and would stop the stream",
            full,
        )
