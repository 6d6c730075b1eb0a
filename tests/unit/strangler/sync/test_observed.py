"""Messages of a fence that observes: read with bounds, counted once, and nothing kept of what a statement holds."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler.sync import observed
from strangler.sync.observed import (
    MOST_PAIRS,
    MOST_TABLES,
    MOST_WRITERS,
    OTHERS,
    SAMPLE_MOST,
    Both,
    Folding,
    Kind,
    Told,
    Writer,
    parse,
    source_of,
    within,
    without_values,
)
from strangler_django import names

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def said(**changed: Any) -> bytes:
    usual = {
        "capability": "reviews",
        "table": "public.review",
        "operation": "INSERT",
        "application": "psql",
        "session_user": "shop",
        "user": "shop",
        "process": 7,
        "transaction": "742",
        "depth": 1,
        "at": NOW.isoformat(),
        "statement": "insert into review values (1)",
    }
    return json.dumps({**usual, **changed}).encode()


def told(name: str = "psql", transaction: int = 1, capability: str = "reviews", minutes: int = 0, **more: str) -> Told:
    at = NOW + timedelta(minutes=minutes)
    found = parse(
        said(application=name, transaction=str(transaction), capability=capability, at=at.isoformat(), **more)
    )
    assert found is not None
    return found


def writer(name: str = "psql", kind: Kind = Kind.APPLICATION) -> Writer:
    return Writer(kind=kind, name=name, role="shop")


# --- whose it is ---


@pytest.mark.parametrize(
    ("statement", "source"),
    [
        (
            "/* strangler method=POST route=/api/reviews/<int:pk>/ */ UPDATE r",
            (Kind.ROUTE, "POST /api/reviews/<int:pk>/"),
        ),
        ("/* strangler method=- route=- */ UPDATE r", (Kind.ROUTE, "- -")),
        ("/* strangler task=shop.tasks.restock */ INSERT", (Kind.TASK, "shop.tasks.restock")),
        ("/* strangler command=import_prices */ DELETE", (Kind.COMMAND, "import_prices")),
        ("/* strangler job=nightly */ DELETE", (Kind.JOB, "nightly")),
        ("/* strangler cron=nightly */ DELETE", (Kind.JOB, "cron=nightly")),
        ("UPDATE r", (Kind.APPLICATION, "web")),
        # Said anywhere but at the beginning it may be a value's, which is anybody's.
        ("UPDATE r SET text = '/* strangler task=a.b */ '", (Kind.APPLICATION, "web")),
        (" /* strangler task=a.b */ UPDATE r", (Kind.APPLICATION, "web")),
        ("UPDATE r\n/* strangler task=a.b */ ", (Kind.APPLICATION, "web")),
        ("/* strangler route=*/evil */ UPDATE r", (Kind.APPLICATION, "web")),
        ("/* strangler task=a\nb */ UPDATE r", (Kind.APPLICATION, "web")),
        ("/* strangler task=*/ UPDATE r", (Kind.APPLICATION, "web")),
        (f"/* strangler task={'a' * 101} */ UPDATE r", (Kind.APPLICATION, "web")),
        (f"/* strangler {'a=b ' * 9}*/ UPDATE r", (Kind.APPLICATION, "web")),
    ],
)
def test_what_a_statement_comes_from_stands_at_its_beginning(statement: str, source: tuple[Kind, str]) -> None:
    assert source_of(statement, "web") == source


@given(st.sampled_from(["task", "command", "job"]), st.text(min_size=1))
def test_what_the_monolith_says_is_understood(kind: str, name: str) -> None:
    statement = names.comment(f"{names.clean(kind)}={names.clean(name)}", "UPDATE r")
    assert source_of(statement, "web") == (Kind(kind), names.clean(name))
    assert without_values(statement) == "UPDATE r"


def test_what_names_nothing_is_called_so_and_moves_no_cursor() -> None:
    assert source_of("UPDATE r", "") == (Kind.APPLICATION, "(no application_name)")
    assert source_of("UPDATE r", "\x1b[2Jweb\n") == (Kind.APPLICATION, "?[2Jweb?")


def test_a_message_is_read_whole() -> None:
    assert parse(said()) == Told(
        capability="reviews",
        writer=writer(),
        table="public.review",
        operation="INSERT",
        transaction="742",
        statement="insert into review values (1)",
        at=NOW,
    )
    for at in (None, 7, "now", "2026-03-01T12:00:00", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"):
        without = parse(said(at=at))
        assert without is not None
        assert without.at is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"[" * 20_000,
        said(statement=7),
        said(operation="SELECT"),
        said(capability="Reviews\n"),
        said(capability="r" * 64),
        said(transaction="one"),
        said(transaction="1" * 21),
        said(statement="x" * 40_000),
    ],
)
def test_what_no_fence_has_written_is_left_out(content: bytes) -> None:
    assert parse(content) is None


@given(st.binary(max_size=200) | st.recursive(st.text() | st.integers(), st.lists).map(json.dumps).map(str.encode))
def test_anything_may_come(content: bytes) -> None:
    assert parse(content) is None


@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=20), st.text(max_size=30))
def test_any_words_in_a_message_stay_short_and_on_a_line(statement: str, name: str, role: str, at: str) -> None:
    found = parse(said(statement=statement, application=name, session_user=role, at=at))
    assert found is not None
    for text in (found.writer.name, found.writer.role, without_values(statement)):
        assert text.isprintable()
        assert len(text) <= SAMPLE_MOST


# --- without values ---


@pytest.mark.parametrize(
    ("statement", "sample"),
    [
        ("INSERT INTO r (a, b) VALUES ('x', 1), ('y', 2.5e-3)", "INSERT INTO r (a, b) VALUES (?, ...), ..."),
        (
            "UPDATE r2 SET t = 'it''s' || E'it\\'s' WHERE id = $1 AND n = -7",
            "UPDATE r2 SET t = ? || ? WHERE id = ? AND n = -?",
        ),
        ("UPDATE r SET t = $$ann's$$, u = $x$ $$ann$$ $x$", "UPDATE r SET t = ?, u = ?"),
        ('UPDATE "R 1" SET "anns" = 1', 'UPDATE "R 1" SET "anns" = ?'),
        ("/* strangler task=a.b */ UPDATE r -- ann's\nSET t = 'x'", "UPDATE r SET t = ?"),
        ("UPDATE r /* ann /* and */ bob's */ SET t = 'x'", "UPDATE r SET t = ?"),
        ("UPDATE r SET t = 'cut off", "UPDATE r SET t = ?"),
        ("UPDATE r SET t = $a$cut off", "UPDATE r SET t = ?"),
        ("UPDATE r SET t = E'cut off\\", "UPDATE r SET t = ?"),
        ("UPDATE r /* cut off", "UPDATE r"),
        ("DELETE FROM r WHERE id IN (1,2,\n 3)", "DELETE FROM r WHERE id IN (?, ...)"),
        ("", ""),
    ],
)
def test_a_statement_is_kept_without_what_it_holds(statement: str, sample: str) -> None:
    assert without_values(statement) == sample


def quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def escaped(value: str) -> str:
    return "E'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


SECRET = st.text(st.sampled_from("xyz'\\$\"*/- \n"), max_size=12)


@given(st.lists(st.tuples(SECRET, st.sampled_from([quoted, escaped])), min_size=1, max_size=5), st.integers(0, 60))
def test_no_character_of_a_value_is_kept_wherever_it_is_cut(values: list[tuple[str, Any]], at: int) -> None:
    statement = "INSERT INTO t VALUES (" + ", ".join(write(value) for value, write in values) + ")"
    for cut in (statement, statement[:at]):
        assert not set(without_values(cut)) & set("xyz")


@pytest.mark.parametrize("text", ["'", "$", "$a", '"', "/*", "*/", "--", "\\", "E'\\", "1e", "a$", "(?,", "?,", "', '"])
def test_any_statement_takes_a_time_that_its_length_bounds(text: str) -> None:
    statement = (text * 2_000)[:2_000]
    began = time.process_time()
    without_values(statement)
    assert time.process_time() - began < 0.2


# --- counted ---


def test_statements_are_counted_by_who_ran_them() -> None:
    folding = Folding("reviews")
    folding.take(told(minutes=3), NOW)
    folding.take(told(minutes=1, operation="DELETE", table="public.vote", statement="delete from vote"), NOW)
    folding.take(told("cron"), NOW)
    folding.take(told(capability="catalog"), NOW)
    tally = folding.taken()
    assert {each.name: count.number for each, count in tally.writers.items()} == {"psql": 2, "cron": 1}
    count = tally.writers[writer()]
    assert (count.first_at, count.last_at) == (NOW + timedelta(minutes=1), NOW + timedelta(minutes=3))
    assert sorted(count.tables) == ["public.review", "public.vote"]
    assert sorted(count.operations) == ["DELETE", "INSERT"]
    assert count.sample == "insert into review values (?)"
    assert not folding.taken()


def test_a_transaction_that_writes_two_capabilities_is_counted_once_with_both_writers() -> None:
    folding = Folding("reviews")
    for transaction in (1, 2):
        folding.take(told("web", transaction, "catalog", minutes=transaction), NOW)
        for _ in range(3):
            folding.take(told("task", transaction, minutes=transaction), NOW)
        folding.take(told("web", transaction, "catalog", minutes=transaction), NOW)
    folding.take(told("web", 3, "catalog"), NOW)
    folding.take(told("web", 4), NOW)
    [(both, times)] = folding.taken().both.items()
    assert both == Both(own=writer("task"), other="catalog", others=writer("web"))
    assert (times.number, times.last_at) == (2, NOW + timedelta(minutes=2))


def test_a_transaction_is_remembered_across_what_was_taken() -> None:
    folding = Folding("reviews")
    folding.take(told(transaction=5), NOW)
    folding.taken()
    folding.take(told("web", 5, "catalog"), NOW)
    assert list(folding.taken().both) == [Both(own=writer(), other="catalog", others=writer("web"))]


def test_what_could_not_be_kept_is_counted_again_with_what_came_since() -> None:
    folding = Folding("reviews")
    folding.take(told(minutes=1), NOW)
    tally = folding.taken()
    folding.take(told(minutes=2), NOW)
    folding.put_back(tally)
    again = folding.taken().writers[writer()]
    assert (again.number, again.first_at, again.last_at) == (2, NOW + timedelta(minutes=1), NOW + timedelta(minutes=2))


WRITTEN = st.builds(
    told,
    name=st.sampled_from(["web", "cron", "psql"]),
    transaction=st.integers(1, 4),
    capability=st.sampled_from(["reviews", "catalog", "orders"]),
    minutes=st.integers(0, 5),
)


@given(st.lists(WRITTEN, max_size=30), st.integers(0, 30))
def test_counts_do_not_depend_on_when_they_are_taken(everything: list[Told], at: int) -> None:
    whole, parted = Folding("reviews"), Folding("reviews")
    for each in everything:
        whole.take(each, NOW)
    for each in everything[:at]:
        parted.take(each, NOW)
    first = parted.taken()
    for each in everything[at:]:
        parted.take(each, NOW)
    parted.put_back(first)
    one, other = whole.taken(), parted.taken()
    assert one.writers == other.writers
    assert one.both == other.both
    own = [each for each in everything if each.capability == "reviews"]
    assert sum(count.number for count in one.writers.values()) == len(own)
    shared = {each.transaction for each in own} & {
        each.transaction for each in everything if each.capability == "orders"
    }
    assert sum(times.number for both, times in one.both.items() if both.other == "orders") == len(shared)


def test_what_is_kept_is_bounded_whatever_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observed, "_WINDOW", 100)
    folding = Folding("reviews")
    for number in range(MOST_WRITERS + 200):
        folding.take(told(f"web {number}", number, table=f"public.t{number % 99}"), NOW)
        folding.take(told("web 0", number, table=f"public.t{number % 99}"), NOW)
        folding.take(told("web", number, f"other-{number}"), NOW)
    tally = folding.taken()
    assert len(tally.writers) == MOST_WRITERS + 1
    assert tally.writers[Writer(kind=Kind.APPLICATION, name=OTHERS, role=OTHERS)].number == 200
    assert sum(count.number for count in tally.writers.values()) == 2 * (MOST_WRITERS + 200)
    assert len(tally.writers[writer("web 0")].tables) == MOST_TABLES
    assert len(tally.both) == MOST_PAIRS + 1
    assert sum(times.number for times in tally.both.values()) == MOST_WRITERS + 200
    assert (len(folding._open), len(folding._paired)) == (100, 100)


def test_what_is_added_to_what_is_known_keeps_its_bounds() -> None:
    known, more = Folding("reviews"), Folding("reviews")
    for number in range(MOST_WRITERS - 1):
        known.take(told(f"web {number}"), NOW)
    for name in ("web 0", "one", "two", "three", "one"):
        more.take(told(name), NOW)
    for number in range(MOST_PAIRS - 1):
        known.take(told("web", number, f"other-{number}"), NOW)
        known.take(told("web 0", number), NOW)
    for number in (0, 1_000, 1_001):
        more.take(told("web 0", number), NOW)
        more.take(told("web", number, f"other-{number}"), NOW)
    added = within(known.taken(), more.taken())
    assert {each.name: count.number for each, count in added.writers.items()} == {"web 0": 4, "one": 2, OTHERS: 2}
    assert {each.other: times.number for each, times in added.both.items()} == {
        "other-0": 1,
        "other-1000": 1,
        OTHERS: 1,
    }
