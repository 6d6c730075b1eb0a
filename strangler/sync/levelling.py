"""Tables made what a snapshot of their source has, whatever is in them: rows of yesterday, some, or none.

Nobody else writes them meanwhile: they are fenced, and the stream into them is held. Rows that are as they should be
are not touched, so a second run over the same rows writes nothing, and one that was killed is just run again. Columns
that the mapping does not give keep what they have; of rows that are made they get the table's default.

    gone      keys are compared, and rows that the source has not are deleted, children before parents
    ranges    a range of keys is staged, and what differs or is missing is written, parents before children
    rest      ranges that a constraint refused, all together

Deletes come first, since a row that goes may have a unique value of one that comes. Where a foreign key does not let it
go yet (a row that stays is to refer to another one), they come last. A range is put off where rows have each other's
unique values, or those of rows in other ranges: at last all other rows are what the source has, so among those that
are left nothing can stand in the way once they are taken out and written again. That is one transaction, in which no
foreign key looks until its end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import psycopg
from psycopg import sql

from strangler.sync import ending, transfer
from strangler.sync.catalogue import identifier
from strangler.sync.copyout import CopyOut
from strangler.sync.direction import Direction
from strangler.sync.errors import SyncError
from strangler.sync.mapping import Projection
from strangler.sync.plan import Chunk, Progress
from strangler.sync.referring import Policy
from strangler.sync.refusal import Refused
from strangler.sync.rewriting import Rewritten, act_as, carry_out

_KEYS: Final = sql.Identifier("pg_temp", "strangler_keys")
_OUT: Final = sql.Identifier("pg_temp", "strangler_out")
# What PostgreSQL itself does to rows of a mapped table when one of another goes: a row that is to stay would go along.
_CASCADES: Final = """
select exists (select from pg_constraint where contype = 'f' and confdeltype in ('c', 'n', 'd')
               and confrelid = any(%(tables)s::bigint[]) and conrelid = any(%(tables)s::bigint[]))
"""

Sound = Callable[[], None]
"""Raises where the target may not be written any more; asked at the end of each transaction that has written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Levelled:
    """One table. ``belongs`` is which of the target's rows are the source's at all; others are left alone."""

    projection: Projection
    policies: tuple[Policy, ...] = ()
    belongs: sql.Composable

    @property
    def name(self) -> str:
        return self.projection.mapping.target


class Levelling:
    """Makes ``tables`` of one target, parents first, what the source's session sees; ``done`` counts what it wrote."""

    def __init__(
        self,
        direction: Direction,
        source: psycopg.Connection,
        target: psycopg.Connection,
        projections: Sequence[Projection],
        tables: Sequence[Levelled],
        sound: Sound,
    ) -> None:
        self.done: dict[str, Rewritten] = {each.name: Rewritten() for each in tables}
        self._direction, self._source, self._target = direction, source, target
        self._projections, self._tables, self._sound = projections, tables, sound
        self._left: dict[str, list[Chunk]] = {}
        self._deleted = False

    def run(self, chunk_rows: int | None = None) -> Generator[Progress, None, None]:
        """Yield how far it is. Raises ``SyncError`` naming what the target refuses; what was written stays."""
        chunks = list(transfer.plan(self._source, [each.projection for each in self._tables], chunk_rows))
        progress = _Counting(chunks)
        yield progress.now()
        by_name = {each.name: each for each in self._tables}
        with _named():
            for number, table in enumerate(self._tables):
                self._note_gone(number, table)
            self._delete_first()
            for chunk in chunks:
                if self._write(by_name[chunk.target], chunk):
                    progress.add(chunk)
                else:
                    self._left.setdefault(chunk.target, []).append(chunk)
                yield progress.now()
            self._write_rest()
        for left in self._left.values():
            for chunk in left:
                progress.add(chunk)
        yield progress.now()

    # --- rows that the source has not ---

    def _note_gone(self, number: int, table: Levelled) -> None:
        """Gather the keys of a table that the source has not: once, since nobody else writes there."""
        projection, target = table.projection, self._target
        key = transfer.names(projection.mapping.key)
        make = "drop table if exists {0}; create temp table {0} as select {1} from {2} limit 0"
        for each in (_KEYS, _gone(number)):
            target.execute(sql.SQL(make).format(each, key, identifier(projection.target.name)))
        values = sql.SQL(", ").join(list(projection.casts())[: len(projection.mapping.key)])
        rows = sql.SQL("select {} from {} where {}").format(
            values, identifier(projection.source.name), projection.condition
        )
        write = sql.SQL("copy {} from stdin (format binary)").format(_KEYS)
        with (
            CopyOut(self._source, transfer.reading(rows)) as out,
            target.cursor() as cursor,
            cursor.copy(write) as sink,
        ):
            for block in out:
                sink.write(block)
        target.execute(sql.SQL("analyze {}").format(_KEYS))
        target.execute(
            sql.SQL(
                "insert into {gone} select {key} from (select * from {table} where {belongs}) as there"
                " where not exists (select from {keys} as here where {same}); drop table {keys}"
            ).format(
                gone=_gone(number),
                key=key,
                table=identifier(projection.target.name),
                belongs=table.belongs,
                keys=_KEYS,
                same=_same(projection, "here"),
            )
        )

    def _delete_first(self) -> None:
        mapped = [each.target.oid for each in self._projections]
        row = self._target.execute(_CASCADES, {"tables": mapped}).fetchone()
        if row is not None and row[0]:
            return
        try:
            self._delete_all()
        except psycopg.errors.ForeignKeyViolation:
            return  # a row that stays refers to one that goes, and is yet to be written

    def _delete_all(self) -> None:
        with self._target.transaction():
            deleted = self._delete()
            self._target.execute("set constraints all immediate")
            self._sound()
        self._count(deleted)
        self._deleted = True

    def _delete(self, role: str | None = None) -> dict[str, Rewritten]:
        """Delete the rows that the source has not, where it is given in a replication role of its own."""
        found: dict[str, Rewritten] = {}
        for number, table in reversed(list(enumerate(self._tables))):
            projection = table.projection
            gone = sql.SQL("select {} from {}").format(transfer.names(projection.mapping.key), _gone(number))
            carry_out(self._target, projection, table.policies, gone)
            if role is not None:
                act_as(self._target, role)
            deleted = self._target.execute(
                sql.SQL("delete from {table} as there using {gone} as here where {same}").format(
                    table=identifier(projection.target.name), gone=_gone(number), same=_same(projection, "here")
                )
            )
            if role is not None:
                act_as(self._target, "origin")
            found[table.name] = Rewritten(deleted=deleted.rowcount)
        return found

    # --- rows that it has ---

    def _write(self, table: Levelled, chunk: Chunk) -> bool:
        """Write what differs of a range; return False where a constraint refuses it, and nothing is written."""
        projection, target = table.projection, self._target
        try:
            with target.transaction():
                transfer.stage(self._source, target, projection, projection.rows(chunk.low, chunk.high))
                found = self._differing(projection)
                if found.rows:
                    target.execute(_upsert(projection))
                    target.execute("set constraints all immediate")
                    self._sound()
        except (
            psycopg.errors.UniqueViolation,
            psycopg.errors.ExclusionViolation,
            psycopg.errors.ForeignKeyViolation,
        ):
            return False
        self._count({table.name: found})
        return True

    def _differing(self, projection: Projection) -> Rewritten:
        row = self._target.execute(
            sql.SQL(
                "select count(*) filter (where not is_here), count(*) filter (where is_here and not alike)"
                " from (select there.strangler_here is not null as is_here, {alike} as alike from {staging} as staged"
                "  left join (select *, true as strangler_here from {table}) as there on {same}) as compared"
            ).format(
                alike=_alike(projection),
                staging=transfer.STAGING,
                table=identifier(projection.target.name),
                same=_same(projection, "staged"),
            )
        ).fetchone()
        inserted, updated = row or (0, 0)
        return Rewritten(inserted=inserted, updated=updated)

    def _write_rest(self) -> None:
        """Write the ranges that were put off, and delete what could not be deleted before."""
        if not self._left:
            if not self._deleted:
                self._delete_all()
            return
        found: dict[str, Rewritten] = {}
        with self._target.transaction():
            if not self._deleted:
                found = self._delete("replica")
            act_as(self._target, "replica")
            for table in self._tables:
                if table.name in self._left:
                    written = self._exchange(table.projection, self._left[table.name])
                    found[table.name] = found.get(table.name, Rewritten()) + written
            act_as(self._target, "origin")
            ending.refuse_broken(self._direction, self._target, self._projections)
            self._sound()
        self._count(found)

    def _exchange(self, projection: Projection, chunks: Sequence[Chunk]) -> Rewritten:
        """Take the rows of some ranges out that differ, and write them again with the columns that nobody gives."""
        target, table = self._target, identifier(projection.target.name)
        transfer.make_staging(target, projection)
        for chunk in chunks:
            rows = projection.rows(chunk.low, chunk.high)
            transfer.pipe(self._source, target, projection, rows, transfer.STAGING)
        found = self._differing(projection)
        every = [name for name, column in projection.target.columns.items() if not column.generated]
        same, given = _same(projection, "staged"), set(projection.columns)
        make = "create temp table {} on commit drop as select {} from {} limit 0"
        target.execute(sql.SQL("drop table if exists {}").format(_OUT))
        target.execute(sql.SQL(make).format(_OUT, transfer.names(every), table))
        target.execute(
            sql.SQL(
                "with taken as (delete from {table} as there using {staging} as staged where {same} and not {alike}"
                " returning {columns}) insert into {out} select * from taken"
            ).format(
                table=table,
                staging=transfer.STAGING,
                same=same,
                alike=_alike(projection),
                columns=transfer.names(every, of="there"),
                out=_OUT,
            )
        )
        write = (
            "insert into {table} ({columns}) overriding system value select {values} from {staging} as staged {beside}"
        )
        values = [sql.Identifier("staged" if name in given else "there", name) for name in every]
        target.execute(
            sql.SQL(write).format(
                table=table,
                columns=transfer.names(every),
                values=sql.SQL(", ").join(values),
                staging=transfer.STAGING,
                beside=sql.SQL("join {} as there on {}").format(_OUT, same),
            )
        )
        target.execute(
            sql.SQL(write).format(
                table=table,
                columns=transfer.names(projection.columns),
                values=transfer.names(projection.columns, of="staged"),
                staging=transfer.STAGING,
                beside=sql.SQL("where not exists (select from {} as there where {})").format(table, same),
            )
        )
        target.execute(sql.SQL("drop table {}").format(_OUT))
        return found

    def _count(self, found: Mapping[str, Rewritten]) -> None:
        for name, more in found.items():
            self.done[name] += more


@dataclass(slots=True)
class _Counting:
    """How far the ranges are."""

    chunks: Sequence[Chunk]
    began: float = field(default_factory=time.monotonic)
    done: int = 0
    rows: int = 0

    def add(self, chunk: Chunk) -> None:
        self.done, self.rows = self.done + 1, self.rows + chunk.expected

    def now(self) -> Progress:
        return Progress(
            run=0,
            chunks=len(self.chunks),
            chunks_done=self.done,
            rows=sum(each.expected for each in self.chunks),
            rows_done=self.rows,
            rows_before=0,
            seconds=time.monotonic() - self.began,
        )


@contextmanager
def _named() -> Iterator[None]:
    """Say which row the target refuses."""
    try:
        yield
    except (psycopg.IntegrityError, psycopg.errors.RaiseException, psycopg.DataError) as exc:
        raise SyncError(
            f"the target refuses a row: {Refused.of(exc)}; nothing of its range was written, and what was before stays:"
            " mend that, and run this again"
        ) from exc


def _gone(number: int) -> sql.Identifier:
    return sql.Identifier("pg_temp", f"strangler_gone_{number}")


def _same(projection: Projection, other: str) -> sql.Composed:
    return sql.SQL(" and ").join(
        sql.SQL("there.{0} = {1}.{0}").format(sql.Identifier(name), sql.Identifier(other))
        for name in projection.mapping.key
    )


def _alike(projection: Projection) -> sql.Composed:
    """Return whether the row ``there`` has what is ``staged``, byte by byte: not every type has an equality."""
    names = [name for name in projection.columns if name not in projection.mapping.key]
    if not names:
        return sql.SQL("true").format()
    there, staged = (transfer.names(names, of=each) for each in ("there", "staged"))
    # Each said to be a record: two rows as they are would be compared value by value, as no type can be.
    return sql.SQL("(row({})::record operator(pg_catalog.*=) row({})::record)").format(there, staged)


def _upsert(projection: Projection) -> sql.Composed:
    """Return the statement that writes the staged rows which are missing or differ: no other is even locked."""
    sets = [
        sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name))
        for name in projection.columns
        if name not in projection.mapping.key
    ]
    return sql.SQL(
        "insert into {table} ({columns}) overriding system value select {columns} from {staging} as staged"
        " where not exists (select from {table} as there where {same} and {alike}) on conflict ({key}) do {update}"
    ).format(
        table=identifier(projection.target.name),
        columns=transfer.names(projection.columns),
        staging=transfer.STAGING,
        same=_same(projection, "staged"),
        alike=_alike(projection),
        key=transfer.names(projection.mapping.key),
        update=sql.SQL("update set {}").format(sql.SQL(", ").join(sets)) if sets else sql.SQL("nothing"),
    )
