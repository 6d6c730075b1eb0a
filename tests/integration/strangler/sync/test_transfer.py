"""What must not get lost on the way: each of these was copied wrong, or not at all, without a word."""

from __future__ import annotations

import os
import socket
from dataclasses import replace

import psycopg
import pytest

from strangler.local import Postgres, ensure_role
from strangler.project import Project, Secret, TableMapping
from strangler.sync import backfill
from strangler.sync.errors import ChunkFailed, RightMissing, SyncError
from strangler.sync.mapping import project
from strangler.sync.transfer import open_database, plan
from tests.fixtures.copying import Library, MakeLibrary
from tests.fixtures.postgres import PASSWORD

TEN = "insert into item select n, n from generate_series(1, 10) n"
ITEM = "create table item (id integer primary key, x integer)"


def mapping(source: str = "item", target: str = "item", where: str | None = None, **forward: str) -> TableMapping:
    return TableMapping(source=source, target=target, key={"id": "id"}, forward=forward, reverse={}, where=where)


def copy_all(library: Library, *, chunk_rows: int = 3, replace: bool = False) -> int:
    run = backfill.prepare(library.files, library.project, replace=replace, chunk_rows=chunk_rows)
    for _ in backfill.copy_here(library.project, run):
        pass
    backfill.prove(library.files, library.project, run)
    return run


def test_both_ends_notice_that_the_other_has_vanished(library: Library) -> None:
    with open_database(library.project.monolith.database.reveal(), "monolith's database") as connection:
        server = [
            connection.execute(f"show tcp_keepalives_{name}").fetchone() for name in ("idle", "interval", "count")
        ]
        with socket.socket(fileno=os.dup(connection.fileno())) as ours:
            options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            client = [ours.getsockopt(socket.IPPROTO_TCP, option) for option in options]
    assert (server, client) == ([("10",), ("3",), ("4",)], [10, 3, 4])


def test_fixed_lengths_arrive_whole(make_library: MakeLibrary) -> None:
    table = "create table item (id integer primary key, word char(5), flags bit(3), name varchar(4), n numeric(6, 2))"
    library = make_library(
        f"{table}; insert into item values (1, 'abc', B'101', 'four', 12.34)",
        table,
        mapping(word="word", flags="flags", name="name", n="n"),
    )
    copy_all(library)
    assert library.rows(library.target, "select id, word, flags::text, name, n::text from item") == [
        (1, "abc  ", "101", "four", "12.34")
    ]


def test_what_is_too_long_for_the_service_is_an_error_and_not_cut(make_library: MakeLibrary) -> None:
    library = make_library(
        "create table item (id integer primary key, word text); insert into item values (1, 'abcdef')",
        "create table item (id integer primary key, word varchar(5))",
        mapping(word="word"),
    )
    with pytest.raises(ChunkFailed, match="value too long for type character varying"):
        copy_all(library)


def test_types_that_only_the_service_has_are_filled(make_library: MakeLibrary) -> None:
    library = make_library(
        "create table item (id integer primary key, mood text, word text, age text);"
        "insert into item values (1, 'sad', 'q', '7')",
        "create type mood as enum ('sad', 'ok'); create domain word as text check (value <> '');"
        "create domain age as integer; create domain old as age check (value > 6);"
        "create table item (id integer primary key, mood mood, word word, age old)",
        mapping(mood="mood", word="word", age="age"),
    )
    copy_all(library)
    assert library.rows(library.target, "select id, mood::text, word, age from item") == [(1, "sad", "q", 7)]


def test_a_key_that_sorts_otherwise_in_the_service_is_copied_once(make_library: MakeLibrary) -> None:
    library = make_library(f"{ITEM}; {TEN}", "create table item (id text primary key, x integer)", mapping(x="x"))
    copy_all(library)
    assert library.rows(library.target, "select id, x from item order by x") == [(str(n), n) for n in range(1, 11)]


def test_signs_that_drivers_and_formatting_treat_specially_are_only_sql(make_library: MakeLibrary) -> None:
    library = make_library(
        f"{ITEM}; {TEN}",
        "create table item (id integer primary key, x text)",
        mapping(x="'{%s}' || x % 7", where="x % 2 = 0 and '{}' <> '%'"),
    )
    copy_all(library)
    assert library.rows(library.target, "select x from item order by id") == [
        (f"{{%s}}{n % 7}",) for n in range(2, 11, 2)
    ]


def test_rows_that_refer_to_each_other_are_copied_in_any_order(make_library: MakeLibrary) -> None:
    library = make_library(
        f"{ITEM}; insert into item select n, 11 - n from generate_series(1, 10) n",
        "create table item (id integer primary key, x integer references item)",
        mapping(x="x"),
    )
    copy_all(library)
    assert library.rows(library.target, "select count(*) from item") == [(10,)]


def test_rows_hidden_by_row_security_are_an_error(make_library: MakeLibrary) -> None:
    library = make_library(
        f"{ITEM}; {TEN}; create policy few on item using (id < 5); alter table item enable row level security;"
        " alter table item force row level security",
        ITEM,
        mapping(x="x"),
    )
    with pytest.raises(SyncError, match="row-level security"):
        copy_all(library)


def test_rows_that_a_trigger_keeps_out_are_missed(make_library: MakeLibrary) -> None:
    library = make_library(
        f"{ITEM}; {TEN}",
        f"{ITEM}; create function drops() returns trigger language plpgsql as"
        " $$begin if new.id = 5 then return null; end if; return new; end$$;"
        "create trigger drops before insert on item for each row execute function drops()",
        mapping(x="x"),
    )
    with pytest.raises(SyncError, match=r"item holds 9 rows where 10 were copied; .* a trigger or rule"):
        copy_all(library)


def test_a_row_that_clashes_with_another_ones_value_is_never_left_out(make_library: MakeLibrary) -> None:
    target = "create table item (id integer primary key, x integer unique deferrable initially deferred)"
    library = make_library(f"{ITEM}; {TEN}", target, mapping(x="x"))
    run = backfill.prepare(library.files, library.project, replace=False)
    with psycopg.connect(library.target) as connection:
        connection.execute("insert into item values (3, 7)")
    with pytest.raises(ChunkFailed, match=r"item, the first key up to the last: duplicate key value .* exchanged"):
        backfill.copy_chunk(library.project, run, 0)
    assert library.rows(library.target, "select id, x from item") == [(3, 7)]


def test_rows_that_are_there_already_are_kept_under_a_deferred_key_too(make_library: MakeLibrary) -> None:
    target = "create table item (id integer primary key deferrable initially deferred, x integer)"
    library = make_library(f"{ITEM}; {TEN}", target, mapping(x="x"))
    run = backfill.prepare(library.files, library.project, replace=False)
    with psycopg.connect(library.target) as connection:
        connection.execute("insert into item values (3, 333)")
    assert backfill.copy_chunk(library.project, run, 0) == 10
    assert library.rows(library.target, "select id, x from item order by id") == [
        (n, 333 if n == 3 else n) for n in range(1, 11)
    ]


def test_a_parent_written_too_late_is_explained(make_library: MakeLibrary) -> None:
    library = make_library(
        f"create table kind (id integer primary key); {ITEM}; insert into item values (1, 1)",
        "create table kind (id integer primary key);"
        "create table item (id integer primary key, x integer references kind)",
        mapping("kind", "kind"),
        mapping(x="x"),
    )
    with pytest.raises(ChunkFailed, match=r"violates foreign key .*: the row that it refers to was written after"):
        copy_all(library)


@pytest.mark.parametrize("identity", ["bigserial", "bigint generated always as identity"])
def test_new_rows_of_the_service_get_numbers_of_their_own(make_library: MakeLibrary, identity: str) -> None:
    library = make_library(
        f"{ITEM}; {TEN}", f"create table item (id {identity} primary key, x integer)", mapping(x="x")
    )
    copy_all(library)
    with psycopg.connect(library.target) as connection:
        assert connection.execute("insert into item (x) values (0) returning id").fetchone() == (11,)


def as_sync_roles(library: Library, postgres: Postgres, rights: str) -> Project:
    """Return the project with roles of the sync's own: one that reads the source, one with ``rights`` on the target."""
    project = library.project
    urls = []
    for url, granted in ((library.source, "select"), (library.target, rights)):
        owner = url.rpartition("/")[2]
        role = f"{owner}_sync"
        with psycopg.connect(postgres.url(owner), autocommit=True) as connection:
            ensure_role(connection, role, PASSWORD)
            connection.execute(f"grant connect on database {owner} to {role}".encode())
            connection.execute(f"grant {granted} on all tables in schema public to {role}".encode())
        urls.append(Secret(value=postgres.url(owner, role, PASSWORD)))
    service = replace(project.services["books"], database=urls[1])
    return replace(project, monolith=replace(project.monolith, database=urls[0]), services={"books": service})


def drop_sync_roles(library: Library, postgres: Postgres) -> None:
    for url in (library.source, library.target):
        owner = url.rpartition("/")[2]
        with psycopg.connect(postgres.url(owner), autocommit=True) as connection:
            connection.execute(f"drop owned by {owner}_sync".encode())
            connection.execute(f"drop role {owner}_sync".encode())


def test_roles_that_may_only_read_there_and_write_here_are_enough(library: Library, postgres: Postgres) -> None:
    reduced = replace(library, project=as_sync_roles(library, postgres, "select, insert, truncate"))
    try:
        copy_all(reduced, chunk_rows=300)
        copy_all(reduced, chunk_rows=300, replace=True)
        assert library.rows(library.target, "select count(*) from title") == [(2273,)]
    finally:
        drop_sync_roles(library, postgres)


def test_rights_that_show_late_are_named_with_their_statements(make_library: MakeLibrary, postgres: Postgres) -> None:
    library = make_library(f"{ITEM}; {TEN}", "create table item (id serial primary key, x integer)", mapping(x="x"))
    reduced = replace(library, project=as_sync_roles(library, postgres, "select, insert"))
    base = library.target.rpartition("/")[2]
    try:
        run = backfill.prepare(reduced.files, reduced.project, replace=False)
        with psycopg.connect(library.target) as connection:
            connection.execute("insert into item values (3, 3)")
        with pytest.raises(ChunkFailed, match=f'grant temporary on database "{base}" to "{base}_sync"'):
            backfill.copy_chunk(reduced.project, run, 0)
        with psycopg.connect(library.target) as connection:
            connection.execute("delete from item")
        backfill.copy_chunk(reduced.project, run, 0)
        with pytest.raises(RightMissing, match=f'grant usage, update on sequence public.item_id_seq to "{base}_sync"'):
            backfill.prove(reduced.files, reduced.project, run)
        with pytest.raises(SyncError, match="item could not be emptied, nothing was: permission denied"):
            copy_all(reduced, replace=True)
    finally:
        drop_sync_roles(library, postgres)


def test_chunks_of_wide_rows_have_few_of_them_and_of_narrow_ones_many(make_library: MakeLibrary) -> None:
    wide = "create table item (id integer primary key, word text); alter table item alter word set storage external;"
    library = make_library(
        f"{wide} insert into item select n, repeat('x', 100000) from generate_series(1, 1000) n;"
        "create table narrow (id integer primary key, x integer);"
        "insert into narrow select n, n from generate_series(1, 1000) n",
        f"{wide} {ITEM.replace('item', 'narrow')}",
        mapping(word="word"),
        mapping("narrow", "narrow", x="x"),
    )
    with psycopg.connect(library.source) as source, psycopg.connect(library.target) as target:
        projections = project(library.files.tables, source, target, "mapping.toml")
        chunks = list(plan(source, projections, None))
    assert {name: len([each for each in chunks if each.target == name]) for name in ("item", "narrow")} == {
        "item": 4,
        "narrow": 1,
    }
