"""Rows from one database into the other, by COPY of the projection into COPY: none becomes a Python object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import psycopg
from psycopg import sql

from strangler.sync.catalogue import identifier
from strangler.sync.copyout import CopyOut
from strangler.sync.errors import NotEmpty, RightMissing, SyncError, Unreachable
from strangler.sync.mapping import Key, Projection
from strangler.sync.plan import CHUNK_BYTES, CHUNK_ROWS, Chunk, cut

_CONNECT_TIMEOUT_S: Final = 5
# A machine that vanishes says no goodbye, and by default its peer goes on waiting for two hours: whoever applies would
# stand still, and what it has locked would keep whoever takes over out. Both ends ask after ten seconds of silence, and
# give up after 22. (No limit for what is sent and not taken: a chunk may wait for its turn longer than that.)
_IDLE_S: Final = 10
_INTERVAL_S: Final = 3
_COUNT: Final = 4
# What a role's or a server's own settings must not decide. Row security would silently leave rows out: off, it is an
# error. Keys are kept as text, so their spelling is fixed, and expressions must give the same wherever they are asked:
# what is a day is told by UTC. How long a copy may take is not for a web role's timeout. What was committed is told to
# the source, which forgets it, and to the control database: so it must have been flushed. A fence lets the sync's role
# pass by this setting alone: nobody who is logged in as that role writes by accident.
_SESSION: Final = (
    "set row_security = off; set datestyle = 'ISO'; set intervalstyle = 'postgres'; set extra_float_digits = 1;"
    " set timezone = 'UTC'; set bytea_output = 'hex'; set lc_monetary = 'C'; set client_encoding = 'UTF8';"
    " set strangler.fence = 'passes';"
    " set statement_timeout = 0; set idle_in_transaction_session_timeout = 0;"
    f" set tcp_keepalives_idle = {_IDLE_S}; set tcp_keepalives_interval = {_INTERVAL_S};"
    f" set tcp_keepalives_count = {_COUNT};"
    " select set_config('synchronous_commit', 'local', false) where current_setting('synchronous_commit') = 'off'"
)
STAGING: Final = sql.Identifier("pg_temp", "strangler_staging")


@contextmanager
def open_database(url: str, what: str, application: str = "strangler backfill") -> Iterator[psycopg.Connection]:
    """Connect to one of the databases. Raises ``Unreachable`` with its name, never its URL."""
    try:
        connection = psycopg.connect(
            url,
            autocommit=True,
            connect_timeout=_CONNECT_TIMEOUT_S,
            application_name=application,
            keepalives_idle=_IDLE_S,
            keepalives_interval=_INTERVAL_S,
            keepalives_count=_COUNT,
            # No keepalives while an answer is due: a network that swallows all would be waited for for minutes.
            tcp_user_timeout=1_000 * (_IDLE_S + _INTERVAL_S * _COUNT),
        )
    except psycopg.OperationalError as exc:
        raise Unreachable(f"the {what} does not answer: {str(exc).strip().splitlines()[0]}") from exc
    with connection:
        connection.execute(_SESSION)
        yield connection


def plan(source: psycopg.Connection, projections: Sequence[Projection], size: int | None) -> Iterator[Chunk]:
    """Yield the chunks that together are all tables, parents before children.

    Each is about ``size`` rows; where that is None, as many as are some megabytes.
    """
    number = 0
    for projection in projections:
        rows = count(source, sql.SQL("select count(*) from ({}) as rows").format(projection.rows(None, None)))
        each = size or _fitting(source, projection, rows)
        for chunk in cut(projection.mapping.target, number, _boundaries(source, projection, each), each, rows):
            number = chunk.number + 1
            yield chunk


def _fitting(source: psycopg.Connection, projection: Projection, rows: int) -> int:
    query = (
        "select coalesce((select sum(pg_table_size(relid)) from pg_partition_tree(%(table)s)),"
        " pg_table_size(%(table)s))::bigint"
    )
    found = source.execute(query, {"table": projection.source.oid}).fetchone()
    size = found[0] if found else 0
    return max(1, min(CHUNK_ROWS, rows * CHUNK_BYTES // max(1, size)))


def _boundaries(source: psycopg.Connection, projection: Projection, size: int) -> list[Key]:
    if projection.target.refers_to_itself:
        return []  # a row and its parent may lie in any two ranges; within one COPY their order does not matter
    return [tuple(key) for key, _ in source.execute(projection.boundaries(size))]


def copy_range(source: psycopg.Connection, target: psycopg.Connection, projection: Projection, chunk: Chunk) -> int:
    """Copy one range of keys in one transaction of the target; return how many rows the source gave."""
    with target.transaction():
        try:
            with target.transaction():
                wanted = projection.rows(chunk.low, chunk.high)
                rows = pipe(source, target, projection, wanted, identifier(projection.target.name))
                target.execute("set constraints all immediate")  # a deferred key must speak here, not at the end
                return rows
        except psycopg.errors.UniqueViolation:
            return _insert_absent(source, target, projection, chunk)  # written before, and not recorded


def pipe(
    source: psycopg.Connection,
    target: psycopg.Connection,
    projection: Projection,
    rows: sql.Composed,
    into: sql.Composable,
) -> int:
    """Copy projected ``rows`` of the source into a table of the target that has their columns; return how many came."""
    with CopyOut(source, reading(rows)) as out:
        put(target, projection, out, into)
    return out.rows


def reading(rows: sql.Composed) -> sql.Composed:
    """Return the COPY that reads projected ``rows``."""
    return sql.SQL("copy ({}) to stdout (format binary)").format(rows)


def put(target: psycopg.Connection, projection: Projection, blocks: Iterable[bytes], into: sql.Composable) -> None:
    """Copy rows, as they were read from the source, into a table of the target that has their columns."""
    write = sql.SQL("copy {} ({}) from stdin (format binary)").format(into, names(projection.columns))
    with target.cursor() as cursor, cursor.copy(write) as sink:
        for block in blocks:
            sink.write(block)


def _insert_absent(source: psycopg.Connection, target: psycopg.Connection, projection: Projection, chunk: Chunk) -> int:
    rows = stage(source, target, projection, projection.rows(chunk.low, chunk.high))
    # Not ON CONFLICT DO NOTHING: it would also drop a row that clashes with another key's, without a word.
    target.execute(
        sql.SQL(
            "insert into {table} ({columns}) overriding system value select {columns} from {staging} as here"
            " where not exists (select from {table} as there where ({there}) = ({here}))"
        ).format(
            table=identifier(projection.target.name),
            columns=names(projection.columns),
            staging=STAGING,
            here=names(projection.mapping.key, of="here"),
            there=names(projection.mapping.key, of="there"),
        )
    )
    return rows


def stage(source: psycopg.Connection, target: psycopg.Connection, projection: Projection, rows: sql.Composed) -> int:
    """Copy projected ``rows`` of the source into ``STAGING``, which goes with the transaction; return how many came.

    Raises ``RightMissing`` with the statement that lets the role do so.
    """
    make_staging(target, projection)
    return pipe(source, target, projection, rows, STAGING)


def make_staging(target: psycopg.Connection, projection: Projection) -> None:
    """Make ``STAGING`` with the columns of a projection, and empty.

    Raises ``RightMissing`` with the statement that lets the role do so.
    """
    columns = names(projection.columns)
    statement = sql.SQL("create temp table {} on commit drop as select {} from {} limit 0")
    try:
        target.execute(sql.SQL("drop table if exists {}").format(STAGING))
        target.execute(statement.format(STAGING, columns, identifier(projection.target.name)))
    except psycopg.errors.InsufficientPrivilege as exc:
        parts = [sql.Identifier(part).as_string(target) for part in (target.info.dbname, target.info.user)]
        raise RightMissing(
            "rows of this range are there already, and this role may not make a temporary table to compare them;"
            f" run in the service's database: grant temporary on database {parts[0]} to {parts[1]}"
        ) from exc


def refuse_rows(target: psycopg.Connection, projections: Sequence[Projection]) -> None:
    """Raise ``NotEmpty`` naming the first target table that holds rows."""
    for projection in projections:
        name = projection.target.name
        if count(target, sql.SQL("select exists (select from {})::int").format(identifier(name))):
            raise NotEmpty(f"{name} holds rows already; --replace empties it and its fellows first")


def empty(target: psycopg.Connection, projections: Sequence[Projection]) -> None:
    """Empty all target tables at once. Raises ``SyncError`` when the role may not, or another table refers to them."""
    tables = sql.SQL(", ").join(identifier(projection.target.name) for projection in projections)
    try:
        target.execute(sql.SQL("truncate {}").format(tables))
    except psycopg.Error as exc:
        tables_ = ", ".join(projection.target.name for projection in projections)
        raise SyncError(f"{tables_} could not be emptied, nothing was: {str(exc).splitlines()[0]}") from exc


def advance_sequences(target: psycopg.Connection, projections: Sequence[Projection]) -> None:
    """Set what feeds the copied columns of the target past their highest values.

    Raises ``RightMissing`` with the statement that lets the role do so.
    """
    for projection in projections:
        for name in projection.columns:
            sequence = projection.target.columns[name].sequence
            if sequence is not None:
                _advance(target, projection.target.name, name, sequence)


def _advance(target: psycopg.Connection, table: str, column: str, sequence: str) -> None:
    query = sql.SQL(
        "select setval({sequence}::regclass, highest) from (select max({column}) as highest from {table}) as seen"
        " where highest > coalesce(pg_sequence_last_value({sequence}::regclass), 0)"
    ).format(sequence=sql.Literal(sequence), column=sql.Identifier(column), table=identifier(table))
    try:
        target.execute(query)
    except psycopg.errors.InsufficientPrivilege as exc:
        role = sql.Identifier(target.info.user).as_string(target)
        raise RightMissing(
            f"the sequence of {table}.{column} could not be set past the rows that were copied;"
            f" run in the service's database: grant usage, update on sequence {sequence} to {role}"
        ) from exc


def count(connection: psycopg.Connection, query: sql.Composed) -> int:
    """Return the one number that ``query`` gives."""
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def names(columns: Iterable[str], of: str | None = None) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(of, column) if of else sql.Identifier(column) for column in columns)
