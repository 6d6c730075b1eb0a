"""What a copy has planned and done, as rows of the control database.

The claim on a chunk is a lock on its row: it ends with the process that holds it, so nobody has to clean up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import psycopg
from psycopg.types.json import Jsonb

from strangler.sync.errors import ChunkFailed, SyncError
from strangler.sync.mapping import Key
from strangler.sync.plan import Chunk, Progress

# Enough to keep every worker busy between two looks; more would pile up in the broker while none takes them.
_WINDOW: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A chunk that is ours until the transaction ends, and the mapping (its digest) that it was planned for."""

    capability: str
    mapping: str
    chunk: Chunk


def begin(control: psycopg.Connection, capability: str, mapping: str, chunks: Sequence[Chunk]) -> int:
    """Record a new run; its time is now. Raises ``SyncError`` when somebody else has begun one since we looked."""
    try:
        with control.transaction():
            query = "insert into strangler.backfill_run (capability, mapping) values (%s, %s) returning id"
            row = control.execute(query, [capability, mapping]).fetchone()
            run: int = row[0] if row else 0
            with control.cursor() as cursor:
                cursor.executemany(
                    "insert into strangler.backfill_chunk (run, number, target, low, high, expected)"
                    " values (%s, %s, %s, %s, %s, %s)",
                    [(run, c.number, c.target, _json(c.low), _json(c.high), c.expected) for c in chunks],
                )
    except psycopg.errors.UniqueViolation as exc:
        raise SyncError(f"a copy of {capability} was begun just now by somebody else; run it again to join it") from exc
    return run


def unfinished(control: psycopg.Connection, capability: str, mapping: str) -> int | None:
    """Return the run to carry on with. Raises ``SyncError`` when it was planned for another mapping."""
    row = control.execute(
        "select id, mapping from strangler.backfill_run"
        " where capability = %s and finished_at is null and abandoned_at is null",
        [capability],
    ).fetchone()
    if row is None:
        return None
    if row[1] != mapping:
        raise SyncError("an unfinished copy was planned for another mapping; start anew with --replace")
    run: int = row[0]
    return run


def under_way(control: psycopg.Connection, capability: str) -> Progress | None:
    """Return how far the unfinished run is, None where there is none."""
    row = control.execute(
        "select id, extract(epoch from clock_timestamp() - started_at)::float8 from strangler.backfill_run"
        " where capability = %s and finished_at is null and abandoned_at is null",
        [capability],
    ).fetchone()
    return progress(control, row[0], row[1], 0) if row else None


def abandon(control: psycopg.Connection, capability: str) -> None:
    """Give up the unfinished run, once whoever copies a chunk of it is done: no row of it is written afterwards."""
    with control.transaction():
        control.execute(
            "with given_up as (update strangler.backfill_run set abandoned_at = clock_timestamp()"
            " where capability = %s and finished_at is null and abandoned_at is null returning id)"
            " delete from strangler.backfill_chunk where run in (select id from given_up)",
            [capability],
        )


def finish(control: psycopg.Connection, run: int) -> None:
    control.execute("update strangler.backfill_run set finished_at = clock_timestamp() where id = %s", [run])


def started_at(control: psycopg.Connection, run: int) -> datetime:
    """Return when ``run`` was begun. Raises ``SyncError`` when it was given up meanwhile."""
    query = "select started_at from strangler.backfill_run where id = %s and abandoned_at is null"
    row = control.execute(query, [run]).fetchone()
    if row is None:
        raise _given_up(run)
    at: datetime = row[0]
    return at


def copied(control: psycopg.Connection, run: int) -> dict[str, int]:
    """Return the rows that the source gave for each target table."""
    query = "select target, sum(rows)::bigint from strangler.backfill_chunk where run = %s group by target"
    return dict(control.execute(query, [run]).fetchall())


def progress(control: psycopg.Connection, run: int, seconds: float, before: int | None) -> Progress:
    """Return how far ``run`` is. Raises ``SyncError`` when it was given up meanwhile."""
    row = control.execute(
        "select count(*), count(done_at), coalesce(sum(expected), 0)::bigint,"
        " coalesce(sum(rows) filter (where done_at is not null), 0)::bigint"
        " from strangler.backfill_chunk where run = %s",
        [run],
    ).fetchone()
    if row is None or not row[0]:
        raise _given_up(run)
    return Progress(
        run=run,
        chunks=row[0],
        chunks_done=row[1],
        rows=row[2],
        rows_done=row[3],
        rows_before=row[3] if before is None else before,
        seconds=seconds,
    )


def next_chunks(control: psycopg.Connection, run: int) -> list[int]:
    """Return the next chunks to copy: of one table only, since its rows may be parents of the next table's."""
    query = (
        "select number from strangler.backfill_chunk where run = %(run)s and done_at is null and target ="
        " (select target from strangler.backfill_chunk where run = %(run)s and done_at is null order by number limit 1)"
        " order by number limit %(window)s"
    )
    return [row[0] for row in control.execute(query, {"run": run, "window": _WINDOW})]


def claim(control: psycopg.Connection, run: int, number: int) -> Claim | None:
    """Lock a chunk until the transaction ends; None when it is done, given up, or claimed by somebody else."""
    row = control.execute(
        "select r.capability, r.mapping, c.target, c.low, c.high, c.expected from strangler.backfill_chunk c"
        " join strangler.backfill_run r on r.id = c.run"
        " where c.run = %s and c.number = %s and c.done_at is null for update of c skip locked",
        [run, number],
    ).fetchone()
    if row is None:
        return None
    low, high = (tuple(key) if key is not None else None for key in row[3:5])
    chunk = Chunk(number=number, target=row[2], low=low, high=high, expected=row[5])
    return Claim(capability=row[0], mapping=row[1], chunk=chunk)


def done(control: psycopg.Connection, run: int, number: int, rows: int) -> None:
    control.execute(
        "update strangler.backfill_chunk set rows = %s, done_at = clock_timestamp(), error = null"
        " where run = %s and number = %s",
        [rows, run, number],
    )


def failed(control: psycopg.Connection, run: int, number: int, error: str) -> None:
    control.execute(
        "update strangler.backfill_chunk set error = %s where run = %s and number = %s and done_at is null",
        [error, run, number],
    )


def forget_failures(control: psycopg.Connection, run: int) -> None:
    control.execute("update strangler.backfill_chunk set error = null where run = %s and done_at is null", [run])


def raise_failure(control: psycopg.Connection, run: int) -> None:
    """Raise ``ChunkFailed`` with the first failure that a worker recorded, if there is one."""
    query = "select error from strangler.backfill_chunk where run = %s and error is not null order by number limit 1"
    row = control.execute(query, [run]).fetchone()
    if row is not None:
        raise ChunkFailed(row[0])


def _given_up(run: int) -> SyncError:
    return SyncError(f"copy {run} was given up for a newer one; run it again to join that")


def _json(key: Key | None) -> Jsonb | None:
    return None if key is None else Jsonb(list(key))
