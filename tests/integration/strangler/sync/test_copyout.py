"""COPY out of a database in blocks: whole, or an error."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from strangler.local import Postgres
from strangler.sync.copyout import CopyOut

ROWS = "copy (select repeat('x', 1000), {} from generate_series(1, 20000) n) to stdout"


@pytest.fixture
def connection(postgres: Postgres) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        yield connection


def rows(last: str) -> sql.Composed:
    return sql.SQL(ROWS).format(sql.SQL(last))


def test_all_rows_come_in_blocks_and_are_counted(connection: psycopg.Connection) -> None:
    with CopyOut(connection, rows("n")) as out:
        blocks = list(out)
    lines = b"".join(blocks).splitlines()
    assert [int(line.split(b"\t")[1]) for line in lines] == list(range(1, 20_001))
    assert out.rows == 20_000
    assert 200 < len(blocks) < 1_000
    assert connection.execute("select 1").fetchone() == (1,)


def test_pieces_are_each_whole_for_a_copy_back(connection: psycopg.Connection) -> None:
    connection.execute("create temp table held (n bigint, said text)")
    rows = sql.SQL(
        "copy (select n::bigint, repeat('x', n % 50) from generate_series(1, {}) n) to stdout (format binary)"
    )
    for count, least in ((0, 1), (1, 1), (5_000, 10)):
        connection.execute("truncate held")
        with CopyOut(connection, rows.format(count)) as out:
            pieces = list(out.pieces(lambda: 10_000))
        assert out.rows == count
        assert len(pieces) >= least
        for piece in pieces:
            assert len(piece) < 11_000
            with connection.cursor().copy("copy held from stdin (format binary)") as sink:
                sink.write(piece)
        told = connection.execute(
            "select count(*), count(distinct n), coalesce(sum(length(said)), 0) from held"
        ).fetchone()
        assert told == (count, count, sum(n % 50 for n in range(1, count + 1)))


def test_what_is_left_unread_is_cancelled_and_the_session_goes_on(connection: psycopg.Connection) -> None:
    with CopyOut(connection, rows("n")) as out:
        next(iter(out))
    assert connection.execute("select 1").fetchone() == (1,)


def test_a_statement_that_is_refused_says_why(connection: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.UndefinedColumn), CopyOut(connection, rows("nothing")):
        pass
    assert connection.execute("select 1").fetchone() == (1,)


def test_an_error_half_way_is_raised_and_the_session_goes_on(connection: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero), CopyOut(connection, rows("1 / (n - 15000)")) as out:
        list(out)
    assert connection.execute("select 1").fetchone() == (1,)


def test_a_session_that_breaks_off_half_way_is_an_error(postgres: Postgres, connection: psycopg.Connection) -> None:
    with CopyOut(connection, rows("n")) as out:
        blocks = iter(out)
        next(blocks)
        with psycopg.connect(postgres.url(), autocommit=True) as other:
            other.execute("select pg_terminate_backend(%s)", [connection.info.backend_pid])
        with pytest.raises(psycopg.OperationalError):
            list(blocks)


def test_a_session_that_is_gone_is_an_error(postgres: Postgres, connection: psycopg.Connection) -> None:
    with psycopg.connect(postgres.url(), autocommit=True) as other:
        other.execute("select pg_terminate_backend(%s, 5000)", [connection.info.backend_pid])
    with pytest.raises(psycopg.OperationalError), CopyOut(connection, rows("n")) as out:
        list(out)
