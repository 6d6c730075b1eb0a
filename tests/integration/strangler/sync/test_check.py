"""What a role lacks in both databases: each statement is run as printed, and the finding is gone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from strangler.local import Postgres, ensure_role
from strangler.sync import install
from strangler.sync.check import Finding, Level, check
from strangler.sync.direction import Direction, Way, inverted
from tests.fixtures.books import Shop
from tests.fixtures.postgres import PASSWORD, MakeDatabase
from tests.fixtures.streams import Paired, table

TABLES = """
create schema "back office";
create table "back office".author (id bigserial primary key, name text not null);
create table book (id bigint primary key, author_id bigint references "back office".author, title text);
alter table book replica identity nothing;
"""
AUTHOR = table("back office.author", "back office.author", {"id": "id"}, {"name": "name"}, reverse={"name": "name"})
BOOK = table("book", "book", {"id": "id"}, {"title": "upper(title)"}, reverse={"title": "title"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Bare:
    """Two databases of tables that belong to others, and a role on each that may do nothing but log in."""

    postgres: Postgres
    forward: Direction

    def stops(self) -> list[Finding]:
        return [each for each in check(self.forward) if each.level is Level.STOP]

    def run(self, finding: Finding) -> None:
        url = {self.forward.source: self.forward.source_url, self.forward.target: self.forward.target_url}
        database = str(conninfo_to_dict(url[finding.where])["dbname"])
        with psycopg.connect(self.postgres.url(database), autocommit=True) as connection:
            connection.execute((finding.statement or "").encode())


@pytest.fixture
def bare(postgres: Postgres, make_database: MakeDatabase) -> Iterator[Bare]:
    owners = [make_database(), make_database()]
    databases = [str(conninfo_to_dict(each)["dbname"]) for each in owners]
    roles = [f"sync of {each}" for each in databases]
    for owner, database, role in zip(owners, databases, roles, strict=True):
        with psycopg.connect(owner) as connection:
            connection.execute(TABLES)
        with psycopg.connect(postgres.url(), autocommit=True) as connection:
            ensure_role(connection, role, PASSWORD)
            connection.execute(f'grant connect on database "{database}" to "{role}"')
    urls = [postgres.url(database, role, PASSWORD) for database, role in zip(databases, roles, strict=True)]
    forward = Direction(
        capability="books",
        way=Way.FORWARD,
        tables=(AUTHOR, BOOK),
        source="monolith's database",
        source_url=urls[0],
        target="books's database",
        target_url=urls[1],
        file="mapping.toml",
    )
    yield Bare(postgres=postgres, forward=forward)
    for database, role in zip(databases, roles, strict=True):
        with psycopg.connect(postgres.url(database), autocommit=True) as connection:
            connection.execute(f'drop owned by "{role}"')
            connection.execute(f'drop role "{role}"')


def test_each_statement_mends_what_it_was_printed_for(bare: Bare) -> None:
    ran: list[str] = []
    while stops := bare.stops():
        first = stops[0]
        assert first.statement is not None, first
        bare.run(first)
        assert first not in bare.stops()
        ran.append(first.statement.split('"')[0].strip())
    assert set(ran) == {
        "alter role",
        "grant create on database",
        "grant temporary on database",
        "grant execute on function pg_replication_origin_create(text), pg_replication_origin_drop(text),"
        " pg_replication_origin_session_setup(text), pg_replication_origin_session_reset() to",
        "grant set on parameter session_replication_role to",
        "grant usage on schema",
        "grant select, insert, update, delete on",
        "grant usage, update on sequence",
        "alter table",
        "grant",
    }
    both = (inverted(bare.forward), bare.forward)
    for each in both:  # nothing else was wanting
        install.install(each, copying=each is bare.forward)
    for each in both:
        install.remove(each)


def test_an_expression_that_its_database_refuses_is_told_once_nothing_else_stops(bare: Bare) -> None:
    wrong = table("book", "book", {"id": "id"}, {"title": "no_such_column"}, reverse={"title": "title"})
    tried = replace(bare, forward=replace(bare.forward, tables=(wrong,)))
    assert "the mapping is tried when what stops is mended" in [each.found for each in check(tried.forward)]
    while (stops := tried.stops()) and stops[0].statement:
        tried.run(stops[0])
    (left,) = tried.stops()
    assert "no_such_column" in left.found


def test_the_command_prints_the_statements_alone_and_ends_as_its_findings_are(
    shop: Shop,
    postgres: Postgres,
) -> None:
    assert shop("check")[0] == 0
    [(role,)] = shop.pair.source("select current_user")
    statement = f'alter role "{role}" replication'
    with psycopg.connect(postgres.url()) as connection:
        connection.execute(f'alter role "{role}" noreplication')
    code, printed, said = shop("check")
    assert code == 1
    assert f"the role {role} may not replicate" in said
    assert f"{statement};" in printed.splitlines()
    assert all(line.startswith("-- in the ") or line.endswith(";") for line in printed.splitlines())
    assert statement in [each["statement"] for each in json.loads(shop("check", "--json")[1])]
    with psycopg.connect(postgres.url()) as connection:
        connection.execute(statement.encode())
    assert shop("check")[0] == 0
    shop("start")
    found = json.loads(shop("check", "--json")[1])
    assert "strangler_fence" not in str(found)  # it is there, and enabled in the service's database
    begun = {each["found"].split(" ")[0] for each in found}
    assert not begun & {"max_replication_slots", "max_wal_senders", "max_active_replication_origins"}


def test_a_database_that_does_not_answer_is_not_said_to_lack_anything(shop: Shop) -> None:
    environment = shop.file.parent / "env"
    environment.write_text(environment.read_text().replace("SOURCE=postgresql://", "SOURCE=postgresql://nobody"))
    code, printed, said = shop("check")
    assert (code, printed) == (2, "")
    assert "the monolith's database does not answer" in said


def test_a_server_that_only_speaks_as_postgresql_does_can_be_routed_only(
    shop: Shop,
    postgres: Postgres,
) -> None:
    database = str(conninfo_to_dict(shop.pair.forward.target_url)["dbname"])
    with psycopg.connect(postgres.url(database)) as connection:
        connection.execute("alter function pg_catalog.pg_control_system() rename to is_not_there")
    code, _, said = shop("check")
    assert code == 2
    assert "the books's database has not what logical decoding wants, and its capabilities can be routed only" in said


def test_a_database_of_another_kind_can_be_routed_only(shop: Shop) -> None:
    environment = shop.file.parent / "env"
    environment.write_text(environment.read_text().replace("SOURCE=postgresql://", "SOURCE=mysql://"))
    code, _, said = shop("check")
    assert (code, "left out for any other database: routing only" in said) == (2, True)
    shop.file.write_text(shop.file.read_text().replace('database = "$SOURCE"\n', "", 1))
    code, _, said = shop("check")
    assert (code, "[monolith] database: found nothing" in said, "routing only" in said) == (2, True, True)


def test_who_else_uses_the_role_is_told_and_what_mends_it_is_a_comment(shop: Shop) -> None:
    with psycopg.connect(shop.pair.forward.source_url, application_name="gunicorn"):
        code, printed, said = shop("check")
    [(role,)] = shop.pair.source("select current_user")
    assert code == 0
    assert f"others are logged in with the role {role}, too (gunicorn)" in said
    assert f"the role {role} owns public.author, public.book" in said
    assert f'-- perhaps: create role "{role}_sync" login replication;' in printed.splitlines()
    assert all(each.startswith("-- ") for each in printed.splitlines())


def test_a_right_that_is_taken_from_everybody_is_named(shop: Shop, postgres: Postgres) -> None:
    database = str(conninfo_to_dict(shop.pair.forward.target_url)["dbname"])
    with psycopg.connect(postgres.url(database)) as connection:
        connection.execute("revoke execute on function pg_control_system() from public")
    code, _, said = shop("check")
    assert (code, "run there: grant execute on function pg_control_system() to" in said) == (2, True)


SHAPED = """
create table shelf (id bigint primary key);
create table book (
    id bigint generated always as identity, number bigint generated always as identity, title text,
    shelf_id bigint, constraint book_pk primary key (id) deferrable initially deferred,
    constraint book_title unique (title) deferrable, constraint book_shelf foreign key (shelf_id) references shelf
);
create table page (book_id bigint constraint page_book references shelf on delete cascade);
create function see() returns trigger language plpgsql as 'begin return new; end';
create trigger seen after insert or update on book for each row execute function see();
create trigger emptied after truncate on book for each statement execute function see();
alter table book enable row level security;
alter table book force row level security;
alter table book set unlogged;
"""


def test_what_the_service_s_tables_do_by_themselves_is_told(pair: Paired, postgres: Postgres) -> None:
    """Each statement that mends a stop, and each of those that only might be wished."""
    book = table("book", "book", {"id": "id"}, {"number": "number", "title": "title"}, reverse={"title": "title"})
    ends = pair(
        "create table book (id bigint primary key, number bigint, title text);"
        " create table page (book_id bigint constraint page_book references book on delete set null)",
        SHAPED,
        book,
        begin=False,
    )
    here, there = ends.forward.source, ends.forward.target

    def told(where: str) -> list[tuple[Level, str | None]]:
        names = ("unlogged", "row security", "may wait", "always", "trigger", "refers to")
        findings = [each for each in check(ends.forward) if each.where == where]
        return [(each.level, each.statement) for each in findings if any(name in each.found for name in names)]

    assert told(here) == [(Level.WARN, 'alter table "public"."page" drop constraint "page_book"')]
    [(role,)] = ends.target("select current_user")
    firm = 'alter table "public"."book" drop constraint "{0}", add constraint "{0}" {1}'
    assert told(there) == [
        (Level.STOP, 'alter table "public"."book" set logged'),
        (Level.STOP, f'alter role "{role}" bypassrls'),
        (Level.STOP, firm.format("book_pk", "PRIMARY KEY (id)")),
        (Level.WARN, firm.format("book_title", "UNIQUE (title)")),
        (Level.WARN, 'alter table "public"."book" alter column "id" set generated by default'),
        (Level.STOP, 'alter table "public"."book" alter column "number" set generated by default'),
        (Level.WARN, 'alter table "public"."book" disable trigger "seen"'),
        (Level.WARN, 'alter table "public"."book" drop constraint "book_shelf"'),
    ]
    database = str(conninfo_to_dict(ends.forward.target_url)["dbname"])
    with psycopg.connect(postgres.url(database)) as connection:
        connection.execute("alter table shelf set logged")
        for _, statement in told(there):
            connection.execute((statement or "").encode())
    assert told(there) == []


def test_a_table_is_what_rows_are_in(pair: Paired) -> None:
    view = "create table shelf (id bigint primary key); create view book as select * from shelf"
    ends = pair(view, "create table book (id bigint primary key)", table("book", "book", {"id": "id"}, {}), begin=False)
    [stop] = [each for each in check(ends.forward) if each.level is Level.STOP and "no table of its own" in each.found]
    assert stop.where == ends.forward.source
