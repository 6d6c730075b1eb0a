"""Who writes a capability's tables, as the command line tells: between real databases, whose streams run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from strangler.capability import Stack
from strangler.sync import observations, running, transfer
from strangler.sync.direction import directions
from tests.fixtures.books import ALL, Shop
from tests.fixtures.command import printed_json
from tests.fixtures.waiting import until

WHY = ("--reason", "trying")


def write(shop: Shop, *statements: str, application: str = "web") -> None:
    """Write in one transaction, as an application does."""
    with psycopg.connect(shop.pair.forward.source_url, application_name=application) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def report(shop: Shop) -> Any:
    return printed_json(shop.say("fence", "report", "books", "--json"))


def writers(shop: Shop) -> dict[str, tuple[str, int]]:
    return {f"{each['kind']}:{each['name']}": (each["place"], each["statements"]) for each in report(shop)["writers"]}


def control(shop: Shop, *statements: str) -> list[Any]:
    with psycopg.connect(shop.project.control.database.reveal()) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


@contextmanager
def in_shadow(shop: Shop) -> Iterator[None]:
    shop("start")
    with shop.running():
        assert shop("backfill", "--inline")[0] == 0
        yield


def declare(shop: Shop, text: str) -> None:
    file = shop.file.parent / "migrations" / "books" / "capability.toml"
    file.write_text(text + file.read_text())


def test_each_writer_is_told_with_where_it_belongs(shop: Shop) -> None:
    declare(shop, 'tasks = ["books.*"]\ncommands = ["import_books"]\n')
    code, out, _ = shop.say("fence", "report", "books")
    assert code == 1
    with in_shadow(shop):
        code, out, _ = shop.say("fence", "observe", "books", "--for", "2h", *WHY)
        assert (code, "books: who writes its tables in the monolith's database is told for 2 h; all may." in out) == (
            0,
            True,
        )
        update = "update book set title = title || '!' where id = {}"
        write(shop, "/* strangler method=POST route=/books/<int:pk>/ */ " + update.format(1))
        write(shop, "/* strangler method=POST route=/shop/cart/ */ " + update.format(2))
        write(shop, "/* strangler task=books.tasks.count */ " + update.format(3))
        write(shop, "/* strangler command=reindex */ " + update.format(4))
        write(shop, update.format(5), "delete from author where id < 0", application="psql [it]")
        # A value that looks as a comment does is a value.
        write(shop, "update book set title = '/* strangler task=books.x */ secret' where id = 6")
        wanted = {
            "route:POST /books/<int:pk>/": ("inside", 1),
            "route:POST /shop/cart/": ("outside", 1),
            "task:books.tasks.count": ("inside", 1),
            "command:reindex": ("outside", 1),
            "application:psql [it]": ("outside", 2),
            "application:web": ("outside", 1),
        }
        until(lambda: writers(shop) == wanted, "all are counted", 20)
        told = shop.say("fence", "allow", "books", "--writer", "application:psql", *WHY)[2]
        assert "application:psql was not seen writing books; seen: " in told
        assert shop.say("fence", "allow", "books", "--writer", "application:psql [it]", *WHY)[0] == 0
        found = report(shop)
        [psql] = [each for each in found["writers"] if each["name"] == "psql [it]"]
        assert (psql["place"], psql["tables"], psql["operations"]) == (
            "allowed",
            ["public.author", "public.book"],
            ["DELETE", "UPDATE"],
        )
        assert psql["sample"] in ("update book set title = title || ? where id = ?", "delete from author where id < ?")
        assert "secret" not in str(control(shop, "select * from strangler.observed_writer"))
        assert (found["observed"]["on"], found["observed"]["gaps"], found["observed"]["stack"]) == (True, 0, "monolith")
        out = shop.say("fence", "report", "books")[1]
        assert "without a gap" in out
        for line in ("route:POST /shop/cart/", "make it a [[route]] of books", "put it into commands of books's files"):
            assert line in " ".join(out.split())
        assert shop.say("fence", "observe", "books", "--off", *WHY)[0] == 0
        write(shop, update.format(7))
        assert "books is not observed" in shop.say("fence", "observe", "books", "--off")[2]
        shop.pair.equal(ALL, ALL)
        assert {key: writers(shop)[key] for key in wanted} == {**wanted, "application:psql [it]": ("allowed", 2)}
    commands = [entry["command"] for entry in printed_json(shop.say("history", "books", "--json"))]
    assert commands[:3] == ["fence-observe-off", "fence-allow", "fence-observe"]


def test_a_transaction_that_writes_two_capabilities_is_told_with_both_writers(shop: Shop) -> None:
    # Of orders there is no table here: this is what its fence would say.
    orders = """select pg_logical_emit_message(false, 'strangler_observed', jsonb_build_object('capability', 'orders',
    'table', 'public.orders', 'operation', 'INSERT', 'application', 'web', 'session_user', session_user,
    'transaction', pg_current_xact_id()::text, 'statement', '/* strangler task=orders.pay */ insert')::text)"""
    with in_shadow(shop):
        shop.say("fence", "observe", "books")
        for _ in range(2):
            write(shop, orders, "update book set title = title", "update book set title = title")
        write(shop, orders)
        write(shop, "update book set title = title")
        until(lambda: writers(shop) == {"application:web": ("outside", 5)}, "all are counted", 20)
        [both] = report(shop)["both"]
        assert (both["writer"]["name"], both["other"], both["other_writer"]["name"]) == ("web", "orders", "orders.pay")
        assert (both["place"], both["transactions"]) == ("outside", 2)
        out = " ".join(shop.say("fence", "report", "books")[1].split())
        assert "2 transactions in which application:web wrote books, and task:orders.pay wrote orders" in out
        [monolith, service] = printed_json(shop.say("fence", "status", "--json"))
        assert (monolith["observing"], monolith["raised"], service["raised"]) == (True, False, True)
        assert monolith["until"] == report(shop)["observed"]["until"]
        out = shop.say("fence", "status", "books")[1]
        assert "may write, observed until" in out
        assert "kept out since epoch" in out
        told = shop.say("cutover", "books", "--unobserved", *WHY)[2]
        assert "writers: from outside: application:web" in told


def test_it_ends_by_itself_and_goes_on_after_what_switched_it_off(shop: Shop) -> None:
    with in_shadow(shop):
        shop.say("fence", "observe", "books")
        # As a cutover that was aborted leaves it.
        shop.pair.source("alter table book disable trigger strangler_fence")
        until(lambda: report(shop)["observed"]["gaps"] == 1, "the gap is found", 20)
        assert report(shop)["observed"]["on"]
        write(shop, "update book set title = title")
        until(lambda: writers(shop) == {"application:web": ("outside", 1)}, "it is counted", 20)
        control(shop, "update strangler.observation set until = clock_timestamp()")
        until(lambda: report(shop)["observed"]["ended_why"] == "its time was over", "it ends", 20)
        assert shop.pair.source("select observing from strangler_sync.claim") == [(False,)]
        # Looked at anew, who is not seen again is no matter.
        shop.say("fence", "observe", "books")
        assert writers(shop) == {"application:web": ("earlier", 1)}


def test_what_was_written_while_nobody_read_is_counted_once(shop: Shop) -> None:
    with in_shadow(shop):
        shop.say("fence", "observe", "books")
        write(shop, "update book set title = title where id = 1")
        until(lambda: writers(shop) == {"application:web": ("outside", 1)}, "it is counted", 20)
    for number in range(5):
        write(shop, f"update book set title = 'Newer {number}' where id = {number}")
    shop.pair.target("update strangler_sync.stream set heartbeat_at = heartbeat_at - interval '1 hour'")
    assert report(shop)["behind_s"] > 3_600
    out = " ".join(shop.say("fence", "report", "books")[1].split())
    assert "what was written in the last 1 h" in out
    with shop.running():
        until(lambda: writers(shop) == {"application:web": ("outside", 6)}, "all are counted", 20)
        shop.pair.equal(ALL, ALL)


def test_a_stream_that_dies_between_rows_and_counts_loses_none_and_counts_none_twice(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is applied is not told to the owner's server before what was heard beside it is kept."""
    shop("start")
    forward, _ = directions(shop.project.capabilities["books"], shop.project)
    url = shop.project.control.database.reveal()
    kept = observations.keep

    def refuse(*_: object) -> None:
        raise psycopg.OperationalError("the control database is gone")

    def follow(over: threading.Event) -> threading.Thread:
        chosen = (forward, lambda: not over.is_set(), print)
        thread = threading.Thread(target=running.keep, args=chosen, kwargs={"control_url": url})
        thread.start()
        return thread

    with shop.running():
        assert shop("backfill", "--inline")[0] == 0
        shop.say("fence", "observe", "books")
    monkeypatch.setattr(observations, "keep", refuse)
    over = threading.Event()
    thread = follow(over)
    try:
        for number in range(20):
            write(shop, f"update book set title = 'Newest {number}' where id = {number}")
        shop.pair.equal(ALL, ALL)
        heartbeat = "select heartbeat_at from strangler_sync.stream where name = 'strangler_books_forward'"
        [(before,)] = shop.pair.target(heartbeat)
        until(lambda: shop.pair.target(heartbeat)[0][0] > before, "it has told how far it is", 20)
    finally:
        over.set()
        thread.join(20)
    assert writers(shop) == {}
    monkeypatch.setattr(observations, "keep", kept)
    for _ in range(2):  # and once more: what is counted comes no more
        over = threading.Event()
        thread = follow(over)
        try:
            until(lambda: writers(shop) == {"application:web": ("outside", 20)}, "all are counted", 20)
        finally:
            over.set()
            thread.join(20)
    with transfer.open_database(url, "control database") as connection:
        assert observations.read_to(connection, "books", Stack.MONOLITH) > 0
