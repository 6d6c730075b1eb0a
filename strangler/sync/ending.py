"""The end of a copy: what is missing is fetched, and the stream passes over what it has seen of it already.

A row that changed in part before it was here is read from the source in one snapshot, while the applier waits. That
row is of a later time than the stream. So its key is kept with the snapshot, and of the transactions that are still to
come the stream leaves out, for this key, those that the snapshot has seen: exactly these are in the row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

import psycopg
from psycopg import sql

from strangler.sync import transfer, watermark
from strangler.sync.catalogue import identifier
from strangler.sync.direction import Direction
from strangler.sync.errors import SyncError
from strangler.sync.filling import alone, begin, buried_keys, catch_up, insert_absent, origins, same_key, written
from strangler.sync.images import RowKey
from strangler.sync.intake import Seen
from strangler.sync.mapping import Projection, cast
from strangler.sync.pgoutput import lsn_text
from strangler.sync.referring import Incoming, incoming

_AT_ONCE: Final = 500
Key = tuple[str, ...]


def is_copying(direction: Direction) -> bool:
    """Return whether rows are still to be copied. Raises ``Unreachable``."""
    with transfer.open_database(direction.target_url, direction.target) as target:
        at = watermark.standing(target, direction.name)
        return at is not None and at.copying


def complete(direction: Direction) -> None:
    """End the copy, once the stream has passed it. Raises ``SyncError`` when the stream does not move for a while."""
    while True:
        if finish(direction, catch_up(direction)):
            return


def finish(direction: Direction, since: int) -> bool:
    """End the copy if nothing is missing any more, and return whether it has ended.

    ``since`` is the position when the last chunk was copied, or something was fetched. Until the stream has passed it
    a row may be newer here than the changes to it that are still to come. What only changed in part before it was here
    is fetched; then it is to be asked again, with another position. Raises ``SyncError`` naming a foreign key or a
    unique constraint that rows break.
    """
    with direction.open() as (source, target):
        at = watermark.standing(target, direction.name)
        if at is None or not at.copying:
            return True
        with target.transaction():
            # In the order of the applier: the stream's row first. From then on no chunk commits: see filling.
            target.execute("select from strangler_sync.stream where name = %s for no key update", [direction.name])
            alone(target, direction.name)
            target.execute(
                "update strangler_sync.stream set copied_at = coalesce(copied_at, %s::pg_lsn) where name = %s",
                [lsn_text(since), direction.name],
            )
        if at.lsn < since:
            return False
        projections = direction.projections(source, target)
        begin(target, projections, direction.name)
        wanting = [each for each in projections if _fetch_amended(source, target, each, direction.name)]
        if wanting:
            return False
        before = _applied(target, direction.name)
        refuse_broken(direction, target, projections)
        with target.transaction():
            # The applier takes this row before anything else: its next batch knows that the copy has ended.
            target.execute("update strangler_sync.stream set copying = false where name = %s", [direction.name])
            if _applied(target, direction.name) != before:  # which no constraint has looked at
                refuse_broken(direction, target, projections)
            ended = not _amended(target, direction.name)
            if not ended:
                raise psycopg.Rollback
            target.execute("delete from strangler_sync.tombstone where stream = %s", [direction.name])
        if ended:
            _free_origins(target, direction.name)
        return ended


def _free_origins(target: psycopg.Connection, stream: str) -> None:
    """Drop the origins of the copy: each keeps a place among the server's few. One in use goes with its stream."""
    target.execute("select pg_replication_origin_session_reset()")
    for name in origins(stream):
        with suppress(psycopg.errors.ObjectInUse, psycopg.errors.UndefinedObject):
            target.execute("select pg_replication_origin_drop(%s)", [name])


def _amended(target: psycopg.Connection, stream: str) -> bool:
    query = (
        "select from strangler_sync.tombstone as laid join strangler_sync.stream on name = stream"
        " where stream = %s and not gone and (fetched_at is null or fetched_at > lsn) limit 1"
    )
    return target.execute(query, [stream]).fetchone() is not None


def _fetch_amended(source: psycopg.Connection, target: psycopg.Connection, projection: Projection, stream: str) -> bool:
    """Fetch the rows that the stream could only have changed in part; return whether there were any."""
    with target.transaction():
        # The applier takes the stream's row first, and so waits: what it has applied is here, and nothing more comes.
        target.execute("select from strangler_sync.stream where name = %s for no key update", [stream])
        alone(target, stream)
        wanted = _wanted(target, projection, stream)
        with snapshot(source) as seen:
            # A transaction may be in the WAL, and applied, and not yet visible: then another time.
            visible = [key for key, xids in wanted.items() if all(sees(seen, xid) for xid in xids)]
            for at in range(0, len(visible), _AT_ONCE):
                _fetch(source, target, projection, stream, visible[at : at + _AT_ONCE], seen)
        if visible:
            target.execute("update strangler_sync.stream set fetches = fetches + 1 where name = %s", [stream])
    return bool(wanted)


def _wanted(target: psycopg.Connection, projection: Projection, stream: str) -> dict[Key, list[int]]:
    """Return the keys to fetch, each with the transactions of which one changed or deleted its row."""
    rows = target.execute(
        "with wanted as (select distinct key from strangler_sync.tombstone"
        "  where stream = %(stream)s and target = %(target)s and not gone and fetched_at is null)"
        " select key, array_agg(distinct xid) filter (where xid is not null)"
        " from strangler_sync.tombstone join wanted using (key) left join unnest(xids) as xid on true"
        " where stream = %(stream)s and target = %(target)s group by key",
        {"stream": stream, "target": projection.mapping.target},
    )
    return {tuple(key): xids or [] for key, xids in rows}


@contextmanager
def snapshot(source: psycopg.Connection) -> Iterator[str]:
    """Read all that follows in one snapshot, and yield it as ``xmin:xmax:running,...``."""
    with source.transaction():
        source.execute("set transaction isolation level repeatable read, read only")
        row = source.execute("select pg_current_snapshot()::text").fetchone()
        yield str(row[0]) if row else ""


def _fetch(
    source: psycopg.Connection,
    target: psycopg.Connection,
    projection: Projection,
    stream: str,
    keys: Sequence[Key],
    snapshot: str,
) -> None:
    """Fetch rows by their keys; those that clash with another's unique value stay wanted until that is another's."""
    here = identifier(projection.target.name)
    whole = _present(target, projection, here, keys)  # they came meanwhile, by the stream
    transfer.stage(source, target, projection, projection.rows_of(keys))
    insert_absent(target, projection)
    clashing = _present(target, projection, transfer.STAGING, keys) - _present(target, projection, here, keys)
    done = [key for key in keys if key not in clashing]
    fetched = [key for key in done if key not in whole]
    with target.cursor() as cursor:
        cursor.executemany(
            "delete from strangler_sync.tombstone where stream = %s and target = %s and key = %s",
            [(stream, projection.mapping.target, list(key)) for key in done],
        )
        cursor.executemany(
            "insert into strangler_sync.tombstone (stream, target, key, gone, xids, fetched_at, snapshot)"
            " values (%s, %s, %s, false, '{}', %s, %s)",
            [
                (stream, projection.mapping.target, list(key), written(source), snapshot)
                for key in as_streamed(source, projection, fetched)
            ],
        )


def _present(
    target: psycopg.Connection, projection: Projection, table: sql.Composable, keys: Sequence[Key]
) -> set[Key]:
    query = sql.SQL(
        "select key from (select key, {keys} from ({wanted}) as listed) as wanted join {table} as there on {same}"
    )
    found = target.execute(
        query.format(keys=buried_keys(projection), wanted=_LISTED, table=table, same=same_key(projection, "wanted")),
        [json.dumps(keys)],
    )
    return {tuple(key) for (key,) in found}


_LISTED: Final = sql.SQL(
    "select array(select jsonb_array_elements_text(each)) as key from jsonb_array_elements(%s::text::jsonb) as each"
)


def as_streamed(source: psycopg.Connection, projection: Projection, keys: Sequence[Key]) -> list[Key]:
    """Return keys as the stream spells them: as the source prints its own columns."""
    texts = [
        sql.SQL("{}::text").format(
            cast(sql.SQL("key[{}]").format(sql.Literal(number)), projection.source.columns[column].type)
        )
        for number, column in enumerate(projection.mapping.key.values(), 1)
    ]
    query = sql.SQL("select array[{}] from ({}) as listed").format(sql.SQL(", ").join(texts), _LISTED)
    return [tuple(key) for (key,) in source.execute(query, [json.dumps(keys)])]


def seen_by(target: psycopg.Connection, stream: str) -> Seen | None:
    """Return what tells which changes the fetched rows of ``stream`` have already; None where no row was fetched."""
    snapshots: dict[tuple[str, Key], str] = {}
    query = "select target, key, snapshot from strangler_sync.tombstone where stream = %s and snapshot is not null"
    for name, key, snapshot in target.execute(query, [stream]):
        snapshots[name, tuple(key)] = snapshot
    if not snapshots:
        return None

    def seen(table: str, key: RowKey, xid: int) -> bool:
        texts = tuple([value.decode() for value in key if isinstance(value, bytes)])
        snapshot = snapshots.get((table, texts))
        return snapshot is not None and sees(snapshot, xid)

    return seen


def sees(snapshot: str, xid: int) -> bool:
    """Return whether a snapshot (``xmin:xmax:running,...`` of 64 bits) sees a transaction that has committed.

    ``xid`` has the 32 bits that the WAL has; it is not older than two thousand million transactions.
    """
    _, highest, running = snapshot.split(":")
    ended = (int(highest) - xid - 1) % (1 << 32) < 1 << 31
    return ended and all(int(each) % (1 << 32) != xid for each in running.split(",") if each)


def _applied(target: psycopg.Connection, stream: str) -> int:
    """Return how many changes the stream has applied since it began."""
    row = target.execute("select changes from strangler_sync.stream where name = %s", [stream]).fetchone()
    return row[0] if row else 0


def refuse_broken(direction: Direction, target: psycopg.Connection, projections: Sequence[Projection]) -> None:
    """Raise ``SyncError`` for rows that a constraint forbids, which did not look while tables were copied."""
    mapped = [each.target.oid for each in projections]
    for each in projections:
        _refuse_orphans(target, each)
        for key in incoming(target, each.target.oid, mapped, direction.claims):
            _refuse_dangling(target, each, key)
        _refuse_doubles(target, each)


def _refuse_orphans(target: psycopg.Connection, projection: Projection) -> None:
    query = (
        "select conname, pg_get_constraintdef(oid), confrelid::regclass::text,"
        " (select array_agg(attname::text order by n) from unnest(conkey) with ordinality as k(num, n)"
        "  join pg_attribute on attrelid = conrelid and attnum = num),"
        " (select array_agg(attname::text order by n) from unnest(confkey) with ordinality as k(num, n)"
        "  join pg_attribute on attrelid = confrelid and attnum = num)"
        " from pg_constraint where conrelid = %s and contype = 'f'"
    )
    for name, _, parent, here, there in target.execute(query, [projection.target.oid]).fetchall():
        orphan = sql.SQL(
            "select {key} from {child} as child where {given}"
            " and not exists (select from {parent} as parent where {same}) limit 1"
        ).format(
            key=transfer.names(projection.mapping.key),
            child=identifier(projection.target.name),
            given=sql.SQL(" and ").join(sql.SQL("child.{} is not null").format(sql.Identifier(each)) for each in here),
            parent=sql.SQL(parent),
            same=sql.SQL(" and ").join(
                sql.SQL("parent.{} = child.{}").format(sql.Identifier(other), sql.Identifier(own))
                for own, other in zip(here, there, strict=True)
            ),
        )
        row = target.execute(orphan).fetchone()
        if row is not None:
            raise SyncError(
                f"{projection.target.name} {row} refers under {name} to a row of {parent} that is not there; map that"
                " table too, or drop the foreign key in the service's database"
            )


def _refuse_dangling(target: psycopg.Connection, projection: Projection, key: Incoming) -> None:
    """Raise ``SyncError`` for a row outside that refers to one which has gone while no foreign key looked.

    Where the role may not read who refers nobody can tell: what the mapping declares of it wants that right. Nor where
    the foreign key is NOT VALID, of which rows may have referred to nothing before.
    """
    if not (key.enforced and key.validated) or key.lacking & {"usage", "select"}:
        return
    orphan = sql.SQL(
        "select {values} from {child} as child where {given}"
        " and not exists (select from {parent} as parent where {same}) limit 1"
    ).format(
        values=sql.SQL(", ").join(sql.SQL("child.{}::text").format(sql.Identifier(each)) for each in key.columns),
        child=key.table.identifier,
        given=sql.SQL(" and ").join(
            sql.SQL("child.{} is not null").format(sql.Identifier(each)) for each in key.columns
        ),
        parent=identifier(projection.target.name),
        same=sql.SQL(" and ").join(
            sql.SQL("parent.{} = child.{}").format(sql.Identifier(to), sql.Identifier(own))
            for own, to in zip(key.columns, key.to, strict=True)
        ),
    )
    row = target.execute(orphan).fetchone()
    if row is not None:
        raise SyncError(
            f"{key.table} refers under {key.name} to {projection.target.name} ({', '.join(row)}), which has gone while"
            " rows were copied, when no foreign key looks: mend those rows, and say in the mapping what a delete shall"
            " do to them (referred_by)"
        )


def _refuse_doubles(target: psycopg.Connection, projection: Projection) -> None:
    """Raise ``SyncError`` for two rows that a deferrable constraint forbids: like foreign keys, it did not look."""
    for columns in projection.target.deferrable:
        double = sql.SQL("select {columns} from {table} where {given} group by {columns} having count(*) > 1 limit 1")
        row = target.execute(
            double.format(
                columns=transfer.names(columns),
                table=identifier(projection.target.name),
                given=sql.SQL(" and ").join(sql.SQL("{} is not null").format(sql.Identifier(each)) for each in columns),
            )
        ).fetchone()
        if row is not None:
            raise SyncError(
                f"{projection.target.name} has two rows of {', '.join(sorted(columns))} {row}, which the source"
                " allows; mend them there, or drop the unique constraint in the service's database"
            )
