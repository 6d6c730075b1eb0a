"""A mapped table made ready for comparison: what both catalogues say of it, and how each side is then read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import sql

from strangler.sync.catalogue import Table, identifier
from strangler.sync.errors import NotComparable
from strangler.sync.mapping import Projection
from strangler.sync.verify import forms
from strangler.sync.verify.reading import Reading

_TYPES: Final = """
with recursive base (attnum, type, typmod) as (
    select attnum, atttypid, atttypmod from pg_attribute where attrelid = %(table)s and attnum > 0 and not attisdropped
    union all
    select b.attnum, t.typbasetype, t.typtypmod from base b join pg_type t on t.oid = b.type where t.typtype = 'd'
)
select a.attname, format_type(t.oid, -1), format_type(t.oid, b.typmod),
       case t.typtype when 'e' then 'text' else format_type(t.oid, -1) end
from pg_attribute a join base b using (attnum) join pg_type t on t.oid = b.type and t.typtype <> 'd'
where a.attrelid = %(table)s
"""
# 950 is the collation "C". Sorted by another, an index does not have the order that both databases agree on.
_INDEXES: Final = """
select array(select case when x.sorting in (0, 950) then a.attname end
             from unnest(i.indkey::smallint[], i.indcollation::oid[]) with ordinality as x (attnum, sorting, place)
             left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = x.attnum order by x.place)::text[]
from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am m on m.oid = c.relam
where i.indrelid = %(table)s and m.amname = 'btree' and i.indisvalid and i.indpred is null
"""
_NAMES: Final = """
select format_type(oid, -1), format_type(oid, typmod) from unnest(%s::oid[], %s::int[]) with ordinality
as given (oid, typmod, place) order by place
"""
_SIZE: Final = """
with recursive tree (oid) as (select %(table)s::oid union
                              select inhrelid from pg_inherits join tree on inhparent = tree.oid)
select coalesce(sum(greatest(reltuples, 0)), 0)::bigint,
       coalesce(sum(pg_relation_size(oid) / current_setting('block_size')::int), 0)::bigint
from tree join pg_class using (oid)
"""
# Of a table never analysed: what a page of a usual table holds.
_ROWS_A_PAGE: Final = 60
# Whole pages are sampled, and the keys in one often lie together: so many for each bound leave ranges of much the same
# size, and so many at least.
_PAGES_A_RANGE: Final = 8
_PAGES: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the catalogue says of a table: its columns' types, its indexes' columns, and about how large it is.

    A column of an index that is not sorted by its bytes, though it could be, is None.
    """

    table: str
    types: Mapping[str, forms.Type]
    indexes: tuple[tuple[str | None, ...], ...]
    rows: int
    pages: int

    def walks(self, key: tuple[str, ...]) -> bool:
        """Return whether an index begins with the columns of ``key``, in their order."""
        return any(index[: len(key)] == key for index in self.indexes)

    def percent(self, chunk_rows: int) -> float:
        """Return how much of the table to sample, so that bounds ``chunk_rows`` apart are found."""
        rows = self.rows or self.pages * _ROWS_A_PAGE
        wanted = max(_PAGES, _PAGES_A_RANGE * rows // chunk_rows)
        return 100 if wanted >= self.pages else round(100 * wanted / self.pages, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A table with a reading for each side; ``percent`` of the monolith's is sampled for the ranges' bounds."""

    projection: Projection
    monolith: Reading
    service: Reading
    percent: float

    @property
    def walkable(self) -> bool:
        """Whether both sides have an index for the key, in the order in which ranges are cut."""
        return self.monolith.walkable and self.service.walkable


def compared(
    projection: Projection, source: psycopg.Connection, target: psycopg.Connection, chunk_rows: int
) -> Compared:
    """Return how the two sides of ``projection`` are compared. Raises ``NotComparable``."""
    _refuse_encodings(source, target)
    here, there = facts(source, projection.source), facts(target, projection.target)
    given = _given(projection, source)
    columns = [there.types[name] for name in projection.columns]
    types = tuple(map(forms.common, columns, given))
    written = list(map(forms.written, columns, given, projection.expressions.values()))
    held = list(map(forms.held, columns, types, map(sql.Identifier, projection.columns)))
    pairs = [(here.types[own], there.types[name]) for name, own in projection.mapping.key.items()]
    order_types = [forms.ordered_as(*pair) for pair in pairs]
    return Compared(
        projection=projection,
        monolith=_reading(
            here, projection.condition, tuple(projection.mapping.key.values()), order_types, written, types
        ),
        service=_reading(there, sql.SQL("true"), tuple(projection.mapping.key), order_types, held, types),
        percent=here.percent(chunk_rows),
    )


def _reading(
    facts: Facts,
    condition: sql.Composable,
    key: tuple[str, ...],
    order_types: Sequence[str | None],
    columns: Sequence[sql.Composable],
    types: tuple[str, ...],
) -> Reading:
    # An index serves the column itself; text that is not sorted by its bytes has none, and is only cast.
    order = tuple(
        sql.Identifier(name) if order_type else forms.by_bytes(column)
        for name, order_type, column in zip(key, order_types, columns, strict=False)
    )
    wanted = [_indexed(name, order_type, facts.types[name]) for name, order_type in zip(key, order_types, strict=True)]
    return Reading(
        table=facts.table,
        key={name: facts.types[name].full for name in key},
        condition=condition,
        order=order,
        order_types=tuple(order_type or forms.BY_BYTES for order_type in order_types),
        columns=tuple(columns),
        types=types,
        walkable=facts.walks(key) and None not in wanted,
        index=", ".join(each for each in wanted if each) if None not in wanted else None,
    )


def _indexed(name: str, order_type: str | None, column: forms.Type) -> str | None:
    """Return what an index must have to serve a key's column in its order; None where none can."""
    quoted = sql.Identifier(name).as_string()
    if order_type:
        return quoted
    return f'{quoted} collate "C"' if column.name in forms.TEXTS else None


def _given(projection: Projection, source: psycopg.Connection) -> list[forms.Type]:
    """Return the types that the mapping's expressions have by themselves, in the columns' order."""
    query = sql.SQL("select {} from {} limit 0").format(
        sql.SQL(", ").join(projection.expressions.values()), identifier(projection.source.name)
    )
    result = source.execute(query).pgresult
    assert result is not None  # noqa: S101  # of a SELECT there always is one
    modified = [(result.ftype(n), result.fmod(n)) for n in range(result.nfields)]
    rows = source.execute(_NAMES, [list(each) for each in zip(*modified, strict=True)]).fetchall()
    return [forms.Type(name=plain, full=full, sent_as=plain) for plain, full in rows]


def facts(connection: psycopg.Connection, table: Table) -> Facts:
    """Return what the catalogue says of ``table``."""
    names = {"table": table.oid}
    types = {
        name: forms.Type(name=plain, full=full, sent_as=sent_as)
        for name, plain, full, sent_as in connection.execute(_TYPES, names)
    }
    indexes = tuple(tuple(columns) for (columns,) in connection.execute(_INDEXES, names))
    rows, pages = connection.execute(_SIZE, names).fetchone() or (0, 0)
    return Facts(table=table.name, types=types, indexes=indexes, rows=rows, pages=pages)


def _refuse_encodings(source: psycopg.Connection, target: psycopg.Connection) -> None:
    here, there = (each.info.parameter_status("server_encoding") for each in (source, target))
    if here != there:
        raise NotComparable(
            f"the monolith's database is encoded in {here} and the service's in {there}: the same text has other bytes"
            f" there, and other checksums; make the service's database anew with encoding '{here}'"
        )
