"""Record what PostgreSQL's ``pgoutput`` says, scene by scene, into a folder by the server's major version.

    python -m tests.vectors.pgoutput.record postgresql://postgres@127.0.0.1:5432/postgres

The URL is a superuser's (origins need it) of a server with ``wal_level=logical``; a database is made and dropped. A
recording is JSON: the scene's statements, the options of START_REPLICATION, and each payload in order, in hex.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import pq, sql
from psycopg.pq.abc import PGconn

from strangler.sync.pgoutput import Keepalive, lsn_of, lsn_text, read_frame, standby_status

FOLDER = Path(__file__).parent
DATABASE = "pgoutput_recording"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """``before`` is done before the slot is made, ``statements`` one by one after that."""

    before: tuple[str, ...]
    statements: tuple[str, ...]
    options: Mapping[str, str]
    since: int = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    statements: tuple[str, ...]
    options: Mapping[str, str]
    payloads: tuple[str, ...]


PLAIN = {"proto_version": "1"}
BOOK = "create table book (id int primary key, title text, body text)"
# Numbers in digits do not compress, so that the value is kept out of line.
LONG = "(select string_agg(md5(n::text), '') from generate_series(1, 200) n)"
STREAMED = (
    "begin",
    "insert into book select n, 'kept', null from generate_series(1, 500) n",
    "savepoint attempt",
    "insert into book select n, 'dropped', null from generate_series(1001, 1500) n",
    "rollback to attempt",
    "insert into book values (3000, 'last', null)",
    "commit",
    "begin",
    "insert into book select n, 'given up', null from generate_series(4001, 4500) n",
    "rollback",
    "insert into book values (6000, 'after', null)",
)

SCENES = {
    "rows": Scene(
        before=(BOOK,),
        statements=(
            "insert into book values (1, 'Dune', null)",
            "insert into book values (2, '', '\u00e9')",
            f"update book set body = {LONG} where id = 1",
            "update book set title = 'Dune II' where id = 1",
            "update book set id = 3 where id = 2",
            "delete from book where id = 3",
        ),
        options=PLAIN,
    ),
    "identities": Scene(
        before=(
            "create table whole (id int primary key, title text, body text)",
            "alter table whole replica identity full",
            "create table coded (id int primary key, code text not null unique, title text)",
            "alter table coded replica identity using index coded_code_key",
            "create table log (line text)",
            "alter table log replica identity nothing",
        ),
        statements=(
            f"insert into whole values (1, 'a', {LONG})",
            "update whole set title = 'b'",
            "delete from whole",
            "insert into coded values (1, 'x', 'a')",
            "update coded set title = 'b'",
            "update coded set code = 'y'",
            "delete from coded",
            "insert into log values ('said')",
        ),
        options=PLAIN,
    ),
    "truncate": Scene(
        before=(
            "create table shelf (id int primary key)",
            "create table item (id serial primary key, shelf int references shelf)",
            "create table other (id serial primary key)",
        ),
        statements=(
            "truncate other",
            "truncate other restart identity",
            "truncate shelf, other restart identity cascade",
        ),
        options=PLAIN,
    ),
    "types": Scene(
        before=(
            "create type mood as enum ('glad', 'sad')",
            "create domain cents as bigint check (value >= 0)",
            "create type place as (street text, number int)",
            "create table thing (id int primary key, mood mood, price cents, tags text[], home place, moods mood[],"
            " size numeric(8, 2), name varchar(20), twice int generated always as (id * 2) stored)",
        ),
        statements=(
            "insert into thing (id, mood, price, tags, home, moods, size, name)"
            " values (1, 'sad', 5, '{a,NULL,\"b c\"}', row('High St', 4), '{glad,sad}', 1.5, 'it')",
        ),
        options=PLAIN,
    ),
    "messages": Scene(
        before=(BOOK,),
        statements=(
            "begin",
            "insert into book values (1, 'a', null)",
            "select pg_logical_emit_message(true, 'said', 'within')",
            "select pg_logical_emit_message(false, 'said', 'at once')",
            "insert into book values (2, 'b', null)",
            "commit",
            "begin",
            "select pg_logical_emit_message(true, '', '')",
            "select pg_logical_emit_message(false, 'said', '\\x00ff'::bytea)",
            "rollback",
        ),
        options={**PLAIN, "messages": "true"},
    ),
    "origin": Scene(
        before=(BOOK,),
        statements=(
            "select pg_replication_origin_session_setup('afar')",
            "begin",
            "select pg_replication_origin_xact_setup('1/2A', '2020-02-02 00:00:00+00')",
            "insert into book values (1, 'from afar', null)",
            "commit",
            "select pg_replication_origin_session_reset()",
            "insert into book values (2, 'from here', null)",
        ),
        options=PLAIN,
    ),
    "origin_streamed": Scene(
        before=(BOOK,),
        statements=(
            "select pg_replication_origin_session_setup('afar')",
            "begin",
            "select pg_replication_origin_xact_setup('1/2A', '2020-02-02 00:00:00+00')",
            "insert into book select n, 'from afar', null from generate_series(1, 500) n",
            "commit",
            "select pg_replication_origin_session_reset()",
        ),
        options={"proto_version": "2", "streaming": "on"},
    ),
    "altered": Scene(
        before=(BOOK,),
        statements=(
            "insert into book values (1, 'a', null)",
            "alter table book add column pages int default 7, drop column body",
            "insert into book values (2, 'b', 8)",
            "begin",
            "alter table book rename column title to name",
            "insert into book values (3, 'c', 9)",
            "commit",
        ),
        options=PLAIN,
    ),
    "altered_streamed": Scene(
        before=(BOOK,),
        statements=(
            "insert into book values (1, 'three columns', null)",
            "begin",
            "savepoint attempt",
            "alter table book add column pages int",
            "insert into book select n, 'dropped', null, n from generate_series(1001, 1500) n",
            "rollback to attempt",
            "insert into book select n, 'kept', null from generate_series(2001, 2500) n",
            "commit",
            "begin",
            "alter table book add column pages int",
            "insert into book select n, 'given up', null, n from generate_series(4001, 4500) n",
            "rollback",
            "insert into book values (6000, 'after', null)",
        ),
        options={"proto_version": "2", "streaming": "on"},
    ),
    "binary": Scene(
        before=(BOOK,),
        statements=("insert into book values (258, 'Dune', null)", "update book set title = 'II'"),
        options={**PLAIN, "binary": "true"},
    ),
    "streamed": Scene(
        before=(BOOK,), statements=STREAMED, options={"proto_version": "2", "streaming": "on", "messages": "true"}
    ),
    "streamed_parallel": Scene(
        before=(BOOK,), statements=STREAMED, options={"proto_version": "4", "streaming": "parallel"}, since=16
    ),
}


def record(url: str, scene: Scene) -> Recording:
    """Play a scene in a database of its own on the server of ``url``; return what was said."""
    with _database(url) as inside, psycopg.connect(inside, autocommit=True) as session:
        for statement in ("create publication said for all tables", *scene.before):
            session.execute(statement)
        session.execute("select pg_replication_origin_create('afar')")
        with psycopg.connect(inside, autocommit=True) as beside, _walsender(inside, scene.options) as walsender:
            payloads: list[str] = []
            for statement in scene.statements:
                session.execute(statement)
                payloads += _said(walsender, _written(beside))
    return Recording(statements=scene.before + scene.statements, options=scene.options, payloads=tuple(payloads))


@contextmanager
def _database(url: str) -> Iterator[str]:
    with psycopg.connect(url, autocommit=True) as connection:
        name = sql.Identifier(DATABASE)
        connection.execute(sql.SQL("create database {}").format(name))
        try:
            yield urlsplit(url)._replace(path=f"/{DATABASE}").geturl()
        finally:
            connection.execute(sql.SQL("drop database {} with (force)").format(name))
            connection.execute(
                "select pg_replication_origin_drop(roname) from pg_replication_origin where roname = 'afar'"
            )


@contextmanager
def _walsender(url: str, options: Mapping[str, str]) -> Iterator[PGconn]:
    walsender = pq.PGconn.connect(f"{url}?replication=database".encode())
    try:
        _ask(walsender, "set logical_decoding_work_mem = '64kB'")
        # These commands are keywords in capitals only.
        _ask(walsender, "CREATE_REPLICATION_SLOT said TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT")
        given = ", ".join(f"{name} '{value}'" for name, value in {**options, "publication_names": "said"}.items())
        _ask(walsender, f"START_REPLICATION SLOT said LOGICAL 0/0 ({given})")
        yield walsender
    finally:
        # A database with a slot in use is not dropped, and a walsender outlives its client for a moment.
        with psycopg.connect(url) as connection:
            connection.execute("select pg_terminate_backend(%s, 10000)", [walsender.backend_pid])
        walsender.finish()


def _ask(walsender: PGconn, command: str) -> None:
    result = walsender.exec_(command.encode())
    if result.status not in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COPY_BOTH):
        raise RuntimeError(f"{command}: {result.get_error_message()}")


def _written(beside: psycopg.Connection) -> int:
    # A commit that waits for the disk takes with it what others have written. It waits only with an xid and a record of
    # its own; a restore point is a record that decoding passes over.
    with beside.transaction():
        beside.execute("set local synchronous_commit = on")
        beside.execute("select pg_current_xact_id(), pg_create_restore_point('said')")
    row = beside.execute("select pg_current_wal_flush_lsn()::text").fetchone()
    assert row is not None
    return lsn_of(row[0])


def _said(walsender: PGconn, until: int) -> Iterator[str]:
    """Yield all that is said of the WAL before ``until``, in hex."""
    seen = 0
    while seen < until:
        # Nothing is acknowledged: the slot is gone with the session.
        walsender.put_copy_data(standby_status(0, 0, 0, 0, reply=True))
        while walsender.flush():
            pass
        frame = None
        while not isinstance(frame, Keepalive):
            size, data = walsender.get_copy_data(0)
            if size < 0:
                raise RuntimeError(f"the walsender ended before {lsn_text(until)}: {walsender.get_error_message()}")
            frame = read_frame(bytes(data))
            if not isinstance(frame, Keepalive):
                yield frame.payload.hex()
        seen = frame.end


def main(url: str) -> None:
    with psycopg.connect(url) as connection:
        major = connection.info.server_version // 10_000
    folder = FOLDER / str(major)
    folder.mkdir(exist_ok=True)
    for name, scene in SCENES.items():
        if major >= scene.since:
            text = json.dumps(asdict(record(url, scene)), indent=1, ensure_ascii=False)
            (folder / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
