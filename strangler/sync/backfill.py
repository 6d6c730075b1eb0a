"""Copying a capability's rows into its service's tables: planned once, killed at any instant, carried on.

A chunk is a range of keys. It is read in a short snapshot of its own by COPY of the projection, in binary, and written
by COPY as it comes: no row becomes a Python object. Where rows of the range are there already (a chunk that was done
but not recorded), what is absent is inserted. The claim on a chunk is a row lock in the control database: it ends with
the process that holds it, and a chunk that is delivered twice is copied once.

The copy is not one snapshot of the whole: its time is the START of the run, the oldest that any row in it can be.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Final

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from strangler.project import CapabilityFiles, Project
from strangler.sync.catalogue import identifier
from strangler.sync.errors import ChunkFailed, NotEmpty, SyncError, Unreachable
from strangler.sync.mapping import Key, Projection, digest, project
from strangler.sync.plan import Chunk, Progress, cut

# Large enough that a chunk's overhead (two connections, one snapshot) is lost in it, small enough for a fair progress.
CHUNK_ROWS: Final = 20_000
# No chunk done for so long: those not done are handed out again. One that is being copied is locked, and skipped.
_HAND_OUT_AGAIN_S: Final = 5.0
_LOOK_S: Final = 0.1
_CONNECT_TIMEOUT_S: Final = 5
_PAUSES_S: Final = (0.5, 2.0, 5.0)

Submit = Callable[[int, int], object]
"""Has one chunk copied, by run and number, here or elsewhere, now or later."""


def check(files: CapabilityFiles, setting: Project) -> list[Projection]:
    """Return the capability's projections, made fast against both live databases. Raises ``MappingInvalid``."""
    service = setting.services[files.service]
    with ExitStack() as stack:
        source = stack.enter_context(_open(setting.monolith.database.reveal(), "monolith's database"))
        target = stack.enter_context(_open(service.database.reveal(), f"{service.name}'s database"))
        return project(files.tables, source, target)


def prepare(files: CapabilityFiles, setting: Project, *, replace: bool, chunk_rows: int = CHUNK_ROWS) -> int:
    """Return the run to work on: the unfinished one, else a new one whose chunks are planned.

    ``replace`` gives up an unfinished run and empties the target's tables. Raises ``MappingInvalid``, or ``NotEmpty``
    when the tables hold rows that no unfinished run explains.
    """
    with _connections(setting, files) as (control, source, target):
        projections = project(files.tables, source, target)
        wanted = digest(files.tables)
        if replace:
            _abandon(control, files.name)
            _empty(target, projections)
        run = _unfinished(control, files.name, wanted)
        if run is not None:
            return run
        _refuse_rows(target, projections)
        chunks = list(_plan(source, projections, chunk_rows))
        return _record(control, files.name, wanted, chunks)


def follow(setting: Project, run: int, submit: Submit) -> Iterator[Progress]:
    """Hand out the chunks of ``run`` and yield the progress until all are done.

    Raises ``ChunkFailed`` with the first chunk that a worker could not copy.
    """
    with _open(setting.control.database.reveal(), "control database") as control:
        _forget_errors(control, run)
        started, handed_out, before = time.monotonic(), 0.0, None
        last_done = -1
        while True:
            progress = _progress(control, run, started, before)
            before = progress.rows_before
            yield progress
            if progress.chunks_done == progress.chunks:
                return
            _raise_error(control, run)
            now = time.monotonic()
            if progress.chunks_done != last_done:
                last_done, moved = progress.chunks_done, now
            if not handed_out or now - max(moved, handed_out) > _HAND_OUT_AGAIN_S:
                for number in _open_chunks(control, run):
                    submit(run, number)
                handed_out = time.monotonic()
            time.sleep(_LOOK_S)


def copy_here(setting: Project, run: int) -> Iterator[Progress]:
    """Copy the chunks of ``run`` in this process, one after the other, and yield the progress.

    Raises ``ChunkFailed`` at the first that cannot be copied.
    """
    with _open(setting.control.database.reveal(), "control database") as control:
        started = time.monotonic()
        progress = _progress(control, run, started, None)
        yield progress
        for number in _open_chunks(control, run):
            copy_chunk(setting, run, number)
            yield (progress := _progress(control, run, started, progress.rows_before))


def prove(files: CapabilityFiles, setting: Project, run: int) -> datetime:
    """Return the time of ``run``, that of its start, once the target is seen to hold the rows that were copied.

    Raises ``SyncError`` naming the table and both counts where it does not.
    """
    with _connections(setting, files) as (control, _, target):
        query = "select target, sum(rows)::bigint from strangler.backfill_chunk where run = %s group by target"
        copied: dict[str, int] = dict(control.execute(query, [run]).fetchall())
        for table in files.tables:
            held = _number(target, sql.SQL("select count(*) from {}").format(identifier(table.target)))
            if held != copied.get(table.target, 0):
                raise SyncError(
                    f"{table.target} holds {held} rows where {copied.get(table.target, 0)} were copied; "
                    "somebody else wrote there: run it again with --replace"
                )
        row = control.execute("select started_at from strangler.backfill_run where id = %s", [run]).fetchone()
        if row is None:
            raise SyncError(f"run {run} is gone from the control database")
        at: datetime = row[0]
        return at


def close(setting: Project, run: int) -> None:
    """Record that ``run`` is finished; done last, so that whatever was cut short before is carried on."""
    with _open(setting.control.database.reveal(), "control database") as control:
        control.execute("update strangler.backfill_run set finished_at = clock_timestamp() where id = %s", [run])


def copy_chunk(setting: Project, run: int, number: int) -> int | None:
    """Copy one chunk and record it; return its rows, or None when it is done or being copied by somebody else.

    Safe to call any number of times, from any process. Raises ``ChunkFailed`` after recording why.
    """
    with _open(setting.control.database.reveal(), "control database") as control, control.transaction():
        row = control.execute(
            "select r.capability, c.target, c.low, c.high, c.expected from strangler.backfill_chunk c"
            " join strangler.backfill_run r on r.id = c.run"
            " where c.run = %s and c.number = %s and c.done_at is null and r.abandoned_at is null"
            " for update of c skip locked",
            [run, number],
        ).fetchone()
        if row is None:
            return None
        low, high = (tuple(key) if key is not None else None for key in row[2:4])
        chunk = Chunk(number=number, target=row[1], low=low, high=high, expected=row[4])
        try:
            rows = _copy_patiently(setting, setting.capabilities[row[0]], chunk)
        except (psycopg.Error, SyncError) as exc:
            failure = ChunkFailed(f"{chunk.target}, {_range(chunk)}: {str(exc).strip().splitlines()[0]}")
            _record_error(control, run, number, str(failure))
        else:
            control.execute(
                "update strangler.backfill_chunk set rows = %s, done_at = clock_timestamp(), error = null"
                " where run = %s and number = %s",
                [rows, run, number],
            )
            return rows
    raise failure


def _copy_patiently(setting: Project, files: CapabilityFiles, chunk: Chunk) -> int:
    # A database that restarts is back within seconds; the claim is kept meanwhile.
    for pause in _PAUSES_S:
        try:
            return _copy(setting, files, chunk)
        except (psycopg.OperationalError, Unreachable):
            time.sleep(pause)
    return _copy(setting, files, chunk)


def _copy(setting: Project, files: CapabilityFiles, chunk: Chunk) -> int:
    tables = [table for table in files.tables if table.target == chunk.target]
    with ExitStack() as stack:
        source = stack.enter_context(_open(setting.monolith.database.reveal(), "monolith's database"))
        service = setting.services[files.service]
        target = stack.enter_context(_open(service.database.reveal(), f"{service.name}'s database"))
        [projection] = project(tables, source, target)
        with target.transaction():
            if _any_rows(target, projection, chunk):
                _insert_absent(source, target, projection, chunk)
            else:
                _pipe(source, target, projection, chunk, identifier(projection.target.name))
            return _number(
                target,
                sql.SQL("select count(*) from {} where {}").format(
                    identifier(projection.target.name), projection.targets(chunk.low, chunk.high)
                ),
            )


def _pipe(
    source: psycopg.Connection,
    target: psycopg.Connection,
    projection: Projection,
    chunk: Chunk,
    into: sql.Composable,
) -> None:
    columns = sql.SQL(", ").join(sql.Identifier(column) for column in projection.columns)
    read = sql.SQL("copy ({}) to stdout (format binary)").format(projection.rows(chunk.low, chunk.high))
    write = sql.SQL("copy {} ({}) from stdin (format binary)").format(into, columns)
    with source.cursor() as out, target.cursor() as cursor, out.copy(read) as rows, cursor.copy(write) as sink:
        for block in rows:
            sink.write(block)


def _insert_absent(
    source: psycopg.Connection, target: psycopg.Connection, projection: Projection, chunk: Chunk
) -> None:
    table, staging = identifier(projection.target.name), sql.Identifier("strangler_staging")
    columns = sql.SQL(", ").join(sql.Identifier(column) for column in projection.columns)
    target.execute(
        sql.SQL("create temp table {} on commit drop as select {} from {} limit 0").format(staging, columns, table)
    )
    _pipe(source, target, projection, chunk, staging)
    target.execute(
        sql.SQL("insert into {} ({}) overriding system value select {} from {} on conflict do nothing").format(
            table, columns, columns, staging
        )
    )


def _any_rows(target: psycopg.Connection, projection: Projection, chunk: Chunk) -> bool:
    query = sql.SQL("select exists (select from {} where {})::int").format(
        identifier(projection.target.name), projection.targets(chunk.low, chunk.high)
    )
    return bool(_number(target, query))


def _plan(source: psycopg.Connection, projections: Sequence[Projection], size: int) -> Iterator[Chunk]:
    number = 0
    for projection in projections:
        where = projection.rows(None, None)
        rows = _number(source, sql.SQL("select count(*) from ({}) as rows").format(where))
        found = source.execute(projection.boundaries(size)).fetchall()
        boundaries: list[Key] = [tuple(key) for key, _ in found]
        for chunk in cut(projection.mapping.target, number, boundaries, size, rows):
            number = chunk.number + 1
            yield chunk


def _record(control: psycopg.Connection, capability: str, mapping: str, chunks: list[Chunk]) -> int:
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
    return run


def _json(key: Key | None) -> Jsonb | None:
    return None if key is None else Jsonb(list(key))


def _unfinished(control: psycopg.Connection, capability: str, wanted: str) -> int | None:
    row = control.execute(
        "select id, mapping from strangler.backfill_run"
        " where capability = %s and finished_at is null and abandoned_at is null",
        [capability],
    ).fetchone()
    if row is None:
        return None
    if row[1] != wanted:
        raise SyncError("an unfinished copy was planned for another mapping; start anew with --replace")
    run: int = row[0]
    return run


def _abandon(control: psycopg.Connection, capability: str) -> None:
    control.execute(
        "update strangler.backfill_run set abandoned_at = clock_timestamp()"
        " where capability = %s and finished_at is null and abandoned_at is null",
        [capability],
    )


def _empty(target: psycopg.Connection, projections: Sequence[Projection]) -> None:
    tables = sql.SQL(", ").join(identifier(projection.target.name) for projection in projections)
    target.execute(sql.SQL("truncate {}").format(tables))


def _refuse_rows(target: psycopg.Connection, projections: Sequence[Projection]) -> None:
    for projection in projections:
        name = projection.target.name
        if _number(target, sql.SQL("select exists (select from {})::int").format(identifier(name))):
            raise NotEmpty(f"{name} holds rows already; --replace empties it and its fellows first")


def _progress(control: psycopg.Connection, run: int, started: float, before: int | None) -> Progress:
    row = control.execute(
        "select count(*), count(done_at), coalesce(sum(expected), 0)::bigint,"
        " coalesce(sum(rows) filter (where done_at is not null), 0)::bigint"
        " from strangler.backfill_chunk where run = %s",
        [run],
    ).fetchone() or (0, 0, 0, 0)
    return Progress(
        run=run,
        chunks=row[0],
        chunks_done=row[1],
        rows=row[2],
        rows_done=row[3],
        rows_before=row[3] if before is None else before,
        seconds=time.monotonic() - started,
    )


def _open_chunks(control: psycopg.Connection, run: int) -> list[int]:
    query = "select number from strangler.backfill_chunk where run = %s and done_at is null order by number"
    return [row[0] for row in control.execute(query, [run])]


def _record_error(control: psycopg.Connection, run: int, number: int, error: str) -> None:
    control.execute(
        "update strangler.backfill_chunk set error = %s where run = %s and number = %s", [error, run, number]
    )


def _forget_errors(control: psycopg.Connection, run: int) -> None:
    control.execute("update strangler.backfill_chunk set error = null where run = %s and done_at is null", [run])


def _raise_error(control: psycopg.Connection, run: int) -> None:
    row = control.execute(
        "select error from strangler.backfill_chunk where run = %s and error is not null order by number limit 1",
        [run],
    ).fetchone()
    if row is not None:
        raise ChunkFailed(row[0])


def _range(chunk: Chunk) -> str:
    low = "the first key" if chunk.low is None else f"keys above {', '.join(chunk.low)}"
    high = "the last" if chunk.high is None else ", ".join(chunk.high)
    return f"{low} up to {high}"


def _number(connection: psycopg.Connection, query: sql.Composed) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


@contextmanager
def _connections(
    setting: Project, files: CapabilityFiles
) -> Iterator[tuple[psycopg.Connection, psycopg.Connection, psycopg.Connection]]:
    service = setting.services[files.service]
    with ExitStack() as stack:
        yield (
            stack.enter_context(_open(setting.control.database.reveal(), "control database")),
            stack.enter_context(_open(setting.monolith.database.reveal(), "monolith's database")),
            stack.enter_context(_open(service.database.reveal(), f"{service.name}'s database")),
        )


@contextmanager
def _open(url: str, what: str) -> Iterator[psycopg.Connection]:
    try:
        connection = psycopg.connect(
            url, autocommit=True, connect_timeout=_CONNECT_TIMEOUT_S, application_name="strangler backfill"
        )
    except psycopg.OperationalError as exc:
        raise Unreachable(f"the {what} does not answer: {str(exc).strip().splitlines()[0]}") from exc
    with connection:
        yield connection
