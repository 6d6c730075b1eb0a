"""A capability's streams from their beginning to their end, as somebody at a terminal moves it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from strangler.local import Postgres
from strangler.project import Sync
from strangler.sync import holding, install, retention, syncing
from strangler.sync.direction import directions
from strangler.sync.errors import MappingInvalid
from strangler.sync.verify import pause
from tests.fixtures.books import ALL, Shop
from tests.fixtures.command import printed_json
from tests.fixtures.streams import Pair, Paired, table
from tests.fixtures.waiting import until


def objects(pair: Pair) -> list[Any]:
    """Return all that is in the catalogues of both databases, and of the servers for them."""
    query = """
        select 'relation', c.oid::regclass::text, c.relacl::text from pg_class c
        union all select 'function', p.oid::regprocedure::text, p.proacl::text from pg_proc p
        union all select 'schema', nspname::text, nspacl::text from pg_namespace
        union all select 'trigger', tgname::text, tgrelid::regclass::text from pg_trigger
        union all select 'type', t.oid::regtype::text, null from pg_type t
        union all select 'publication', pubname::text, null from pg_publication
        union all select 'subscription', subname::text, null from pg_subscription where subdbid = (
            select oid from pg_database where datname = current_database())
        union all select 'slot', slot_name::text, null from pg_replication_slots where database = current_database()
        union all select 'origin', roname, null from pg_replication_origin where roname like 'strangler\\_books\\_%'
        union all select 'default', defaclacl::text, null from pg_default_acl
        union all select 'setting', setconfig::text, null from pg_db_role_setting
        order by 1, 2, 3
    """
    without_temporary = "select * from ({}) as all_of_it(kind, name, more) where name !~ '^pg_(toast_)?temp'"
    text = without_temporary.format(query)
    return [pair.source(text), pair.target(text)]


def test_a_start_is_refused_where_what_is_declared_cannot_be_done(shop: Shop) -> None:
    mapping = shop.file.parent / "migrations" / "books" / "mapping.toml"
    entry = '[[table.referred_by]]\ntable = "note"\ncolumns = ["book_id"]\nstack = "service"\non_delete = "restrict"\n'
    mapping.write_text(mapping.read_text() + entry)
    code, _, said = shop("start")
    assert code == 1
    assert "there is no table note, which is said to refer to public.book; mend its name" in said


def test_a_whole_life_leaves_nothing_behind(shop: Shop) -> None:
    before = objects(shop.pair)
    assert "run the backfill first" in shop.say("set", "books", "--reads", "1%", "--reason", "early")[2]
    assert "its streams have begun" in shop("start")[1]
    assert shop.stage == "syncing"
    assert "they have begun already" in shop("start")[2]
    assert "its tables are being copied" in shop.say("set", "books", "--reads", "1%", "--reason", "early")[2]
    with shop.running() as told:
        shop.pair.source("update book set title = title || '!' where id % 7 = 0", "delete from book where id % 50 = 0")
        code, out, err = shop("backfill", "--inline")
        assert (code, "stage shadow" in out, "equal" in out) == (0, True, True), (out, err)
        shop.pair.source("insert into book values (1000, 1, 'Later')")
        shop.pair.equal(ALL, ALL)
        [found] = printed_json(shop.say("sync", "status", "--json"))
        assert (found["stage"], found["copy"]) == ("shadow", None)
        assert [found[way]["follows"] for way in ("forward", "reverse")] == [True, True]
        assert found["forward"]["lag_s"] < 10 > found["forward"]["lag_bytes"] / 1e6
        assert found["tables"]["book"].keys() == {"source_rows", "target_rows", "estimated"}
        assert "stage shadow → canary" in shop.say("set", "books", "--reads", "5%", "--reason", "first")[1]
        [found] = printed_json(shop.say("sync", "status", "--json"))
        going_back = {name: found["way_back"][name] for name in ("gate", "owner", "service_share", "rows_lost")}
        assert going_back == {"gate": "open", "owner": "monolith", "service_share": 500, "rows_lost": 0}
        assert found["way_back"]["pending_bytes"] == found["forward"]["lag_bytes"]
        view = shop.say("sync", "status")[1]
        assert "going back loses nothing; 5 % of the reads would return to the monolith" in view
        code, out, _ = shop("verify")
        assert (code, "equal" in out) == (0, True)
        assert "set reads to 0 first" in shop("remove")[2]
        assert "canary → shadow" in shop.say("set", "books", "--reads", "0%", "--reason", "enough")[1]
        assert "nothing of its streams is left" in shop("remove")[1]
        assert told == []
    assert shop.stage == "monolith"
    assert objects(shop.pair) == before
    assert "no copy of its tables" in shop.say("set", "books", "--reads", "1%", "--reason", "late")[2]
    commands = [each["command"] for each in printed_json(shop.say("history", "books", "--json"))]
    assert commands[:5] == ["sync-remove", "set", "set", "sync-complete", "sync-start"]


def test_reads_wait_for_a_stream_that_follows(shop: Shop) -> None:
    shop("start")
    with shop.running():
        shop("backfill", "--inline")
    code, _, err = shop.say("set", "books", "--reads", "5%", "--reason", "first")
    assert code != 0
    assert "does not follow, and readers would not see later writes: nobody applies it" in err
    assert "canary" in shop.say("set", "books", "--reads", "5%", "--reason", "first", "--allow-stale")[1]
    assert shop.say("set", "books", "--reads", "4%", "--reason", "less")[0] == 0
    assert "killed, stage canary → shadow" in shop.say("kill", "books", "--reason", "smoke")[1]
    assert "[" not in shop.say("sync", "status")[1].replace("[CAPABILITY]", "")


def test_rows_that_are_there_already_are_emptied_only_when_asked(shop: Shop) -> None:
    shop.pair.target("insert into author values (99, 'Nobody')")
    before = objects(shop.pair)
    code, _, err = shop("start")
    assert (code, shop.stage) == (1, "monolith")
    assert "author" in err
    assert objects(shop.pair) == before
    assert shop("start", "--replace")[0] == 0
    assert shop.pair.target("select count(*) from author") == [(0,)]


def test_what_differs_after_the_copy_is_told_and_nobody_may_read_it(shop: Shop) -> None:
    shop("start")
    shop.pair.target("insert into author values (99, 'Nobody')")
    with shop.running():
        code, out, err = shop("backfill", "--inline")
        assert (code, shop.stage) == (1, "syncing")
        assert "only in the service" in out
        assert "stays in stage syncing" in err
        shop.pair.target("delete from author where id = 99")
        code, out, err = shop("backfill", "--inline")
        assert (code, shop.stage) == (0, "shadow"), err


def test_a_side_that_is_away_does_not_keep_the_other_from_being_cleared(shop: Shop) -> None:
    shop("start")
    env = shop.file.parent / "env"
    as_it_was = env.read_text()
    env.write_text(as_it_was.replace(shop.pair.forward.target_url, "postgresql://127.0.0.1:1/gone"))
    code, _, err = shop("remove")
    assert (code, shop.stage) == (1, "monolith")
    assert "the books's database is not cleared" in err
    slots = "select slot_name::text from pg_replication_slots where database = current_database()"
    assert shop.pair.source(slots) == []
    env.write_text(as_it_was)
    assert "the state of books and what is in the databases differ" in shop("backfill", "--inline")[2]
    assert shop("remove")[0] == 0
    assert shop.pair.target(slots) == []
    assert shop("start")[0] == 0


def test_a_mapping_that_changes_stops_its_streams(shop: Shop) -> None:
    shop("start")
    file = shop.file.parent / "migrations" / "books" / "mapping.toml"
    file.write_text(file.read_text().replace('name = "name"', 'name = "upper(name)"', 1))
    with shop.running() as told:
        until(lambda: told, "it says why it does not go on")
    assert "the mapping has changed since strangler_books_forward was begun" in told[0]
    [found] = printed_json(shop.say("sync", "status", "books", "--json"))
    assert "the mapping has changed" in found["forward"]["problem"]
    assert "stopped" in shop.say("sync", "status")[1]


def test_a_capability_that_is_streamed_does_not_go_from_the_files(shop: Shop) -> None:
    shop("start")
    folder = shop.file.parent / "migrations" / "books"
    (folder / "mapping.toml").rename(shop.file.parent / "kept.toml")
    assert "put mapping.toml back and run first: strangler sync remove books" in shop.say("publish")[2]
    (folder / "capability.toml").unlink()
    assert "its slot would keep WAL for ever" in shop.say("publish")[2]


def test_nothing_is_begun_without_the_right(shop: Shop, postgres: Postgres) -> None:
    [(role,)] = shop.pair.source("select current_user")
    with psycopg.connect(postgres.url()) as connection:
        connection.execute(f'alter role "{role}" noreplication')
    code, _, err = shop("start")
    assert (code, shop.stage) == (1, "monolith")
    assert f'run there: alter role "{role}" replication' in err


def test_a_transaction_that_writes_is_named_when_a_slot_waits_for_it(
    shop: Shop, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "SLOT_PATIENCE_S", 1)
    with psycopg.connect(postgres.url(), application_name="night job") as other:
        other.execute("create table in_another_database (id int)")
        pid = other.info.backend_pid
        code, _, err = shop("start")
        assert (code, shop.stage) == (1, "monolith")
        assert f"waits for transactions that write, 1 s already: process {pid} (" in err
        assert "end them, or run this again at a quieter hour" in err
        other.rollback()
    assert shop("start")[0] == 0


def test_a_slot_that_keeps_too_much_is_given_up_and_readers_are_taken_back(shop: Shop) -> None:
    shop("start")
    with shop.running():
        shop("backfill", "--inline")
        assert shop.say("set", "books", "--reads", "5%", "--reason", "first")[0] == 0
    shop.pair.source("insert into book select n, 1, 'More ' || n from generate_series(2000, 9000) n")
    told = list[str]()
    both = directions(shop.project.capabilities["books"], shop.project)

    def look(times: float) -> None:
        """Look with so many times the budget of what is kept now; a server has other things to write, too."""
        [found] = printed_json(shop.say("sync", "status", "--json"))
        budget = int(times * found["forward"]["kept_bytes"])
        with closing(retention.Retention(replace(shop.project, sync=Sync(retention=budget)), told.append)) as watch:
            watch.look(both[:1])

    look(10)
    assert told == []
    look(1.5)
    assert "bytes of WAL for it, and at" in told.pop()
    assert shop.stage == "canary"
    look(0.5)
    assert "was given up, since the monolith's database keeps" in told.pop()
    assert shop.stage == "shadow"
    assert "was given up" in printed_json(shop.say("status", "--json"))["capabilities"]["books"]["killed"]
    assert shop.pair.source("select count(*) from pg_replication_slots where slot_name ~ 'books_forward'") == [(0,)]
    with shop.running() as heard:
        until(lambda: heard, "it says that it cannot go on")
    assert "was given up" in heard[0]
    assert "was given up" in shop.say("sync", "status")[1].replace("\n", " ")
    assert shop("remove")[0] == 0


def test_the_status_names_who_has_a_server_keep_wal(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "OLD_S", 0.0)
    shop("start")
    with psycopg.connect(shop.pair.forward.source_url, application_name="night job") as other:
        other.execute("insert into author values (77, 'Nobody')")
        [found] = printed_json(shop.say("sync", "status", "--json"))
        [holder] = found["forward"]["held"]["by"]
        assert (holder["pid"], holder["application"]) == (other.info.backend_pid, "night job")
        assert found["forward"]["held"]["oldest_s"] == holder["open_s"] > 0
        told = shop.say("sync", "status")[1]
        assert told.count(f"the monolith keeps WAL for process {other.info.backend_pid} (") == 1
        other.rollback()
    [found] = printed_json(shop.say("sync", "status", "--json"))
    assert found["forward"]["held"] == {"count": 0, "by": [], "grant": None, "oldest_s": 0.0}


def test_one_that_reads_is_ended_when_its_stream_is_given_up(shop: Shop) -> None:
    shop("start")
    told = list[str]()
    with shop.running():
        until(lambda: running_slots(shop.pair) == 2, "both streams run")
        with closing(retention.Retention(replace(shop.project, sync=Sync(retention=1)), told.append)) as watch:
            watch.look(directions(shop.project.capabilities["books"], shop.project))
    assert sum("was given up" in each for each in told) == 2
    assert running_slots(shop.pair) == 0


def test_looking_after_slots_keeps_its_sessions_until_nothing_is_streamed(shop: Shop, postgres: Postgres) -> None:
    both = directions(shop.project.capabilities["books"], shop.project)
    shop("start")
    with closing(retention.Retention(shop.project, pytest.fail)) as watch:
        watch.look(both)
        first = lookers(shop.pair)
        watch.look(both)
        assert lookers(shop.pair) == first
        assert len(first) == 2
        with psycopg.connect(postgres.url(), autocommit=True) as superuser:
            superuser.execute("select pg_terminate_backend(pid) from unnest(%s::integer[]) as pid", [[*first]])
        until(lambda: not lookers(shop.pair), "they are gone")
        watch.look(both)
        assert len(lookers(shop.pair) - first) == 2
        assert shop("remove")[0] == 0
        watch.look(both)
        until(lambda: not lookers(shop.pair), "whoever drops a database now is not kept from it")


def lookers(pair: Pair) -> set[int]:
    return {pid for (pid,) in pair.source("select pid from pg_stat_activity where application_name ~ 'retention$'")}


def running_slots(pair: Pair) -> int:
    query = "select count(*) from pg_replication_slots where active and slot_name ~ 'books_(forward|reverse)'"
    [(found,)] = pair.source(query)
    return int(found)


def test_rows_in_flight_are_waited_for_by_the_stream_where_one_is_applied(shop: Shop) -> None:
    shop("start")
    assert syncing.settling(shop.pair.forward) is pause
    with shop.running():
        shop("backfill", "--inline")
        settle = syncing.settling(shop.pair.forward)
        assert settle is not pause
        shop.pair.source("update book set title = title || '?'")
        settle()
        assert shop.pair.target(ALL) == shop.pair.source(ALL)


def test_a_table_that_would_refuse_its_own_changes_is_not_published(shop: Shop) -> None:
    shop.pair.source("alter table book replica identity nothing")
    code, _, err = shop("start")
    assert (code, shop.stage) == (1, "monolith")
    assert "book → book: the source tells nothing of a changed row, and not the key; run there: alter table" in err
    shop.pair.source("update book set title = title || '!'")
    shop.pair.source("alter table book replica identity default")
    assert shop("start")[0] == 0
    shop.pair.source("update book set title = title || '!'")


def test_a_whole_row_with_a_generated_column_that_is_not_stored_is_not_published(shop: Shop) -> None:
    virtual = "add column twice bigint generated always as (2 * id) virtual"
    shop.pair.source(f"alter table book {virtual}", "alter table book replica identity full")
    code, _, err = shop("start")
    assert (code, shop.stage) == (1, "monolith")
    assert "published, it would refuse every change" in err
    shop.pair.source("update book set title = title || '!'", "alter table book replica identity default")
    assert shop("start")[0] == 0
    shop.pair.source("update book set title = title || '!'")


def test_the_parts_of_a_table_tell_of_their_rows_what_the_condition_needs(pair: Paired) -> None:
    made = "create table thing (id bigint primary key, body text, flag boolean)"
    mapping = table("thing", "thing", {"id": "id"}, {"body": "body"}, reverse={"body": "body"}, where="flag")
    part = "create table part partition of thing for values from (0) to (9)"
    whole = "alter table thing replica identity full"
    found = pair(f"{made} partition by range (id); {part}; {whole}", made, mapping, begin=False)
    with pytest.raises(MappingInvalid, match="run there: alter table part replica identity full"):
        found.begin()
    found.source("alter table part replica identity full")
    found.begin()
