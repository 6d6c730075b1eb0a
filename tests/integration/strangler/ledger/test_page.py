"""What docs/reference/ledger.md says of the ledger is true of a real one, and what it shows is run as it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from psycopg import sql

from strangler.capability import (
    Clear,
    Command,
    CompleteMove,
    CompleteSync,
    Kill,
    SetReads,
    StartMove,
    StartSync,
    SwitchOwner,
)
from strangler.ledger import Change, Ledger
from strangler.local import Postgres
from strangler.project import Project

PAGE: Final = (Path(__file__).parents[4] / "docs" / "reference" / "ledger.md").read_text()
ASKED: Final = dict(re.findall(r'```sql title="([^"]+)"\n(.*?)```', PAGE, flags=re.DOTALL))
_COLUMNS: Final = """
select table_name::text, column_name::text from information_schema.columns where table_schema = 'strangler'
order by table_name, ordinal_position
"""


def told_tables() -> dict[str, str]:
    """Return the tables of the overview, and whether each may be asked by SQL."""
    return dict(re.findall(r"^\| `strangler\.(\w+)` \|.*\| (yes|may change) \|$", PAGE, flags=re.MULTILINE))


def told_columns() -> dict[str, list[str]]:
    tables = re.findall(
        r"^`strangler\.(\w+)`[^|]*?\n\n\| column \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, flags=re.MULTILINE
    )
    return {name: re.findall(r"^\| `(\w+)` \|", rows, flags=re.MULTILINE) for name, rows in tables}


@pytest.fixture
def ledger(ledger_project: Project) -> Iterator[Ledger]:
    """A ledger in which reads were set, killed and cleared, and in which an owner has moved."""
    with Ledger.open(ledger_project) as opened:
        opened.enrol(ledger_project, who="ann", reason="first")
        do(opened, "search", "bob", SetReads(share=2_500), Kill(reason="wrong prices"), Clear())
        do(opened, "catalog", "ann", StartSync(), CompleteSync(), StartMove())
        move = opened.state("catalog").moving
        assert move is not None
        do(opened, "catalog", "ann", SwitchOwner(epoch=move.epoch), CompleteMove(epoch=move.epoch))
        yield opened


def do(ledger: Ledger, capability: str, who: str, *commands: Command) -> None:
    for command in commands:
        ledger.apply(Change(capability=capability, command=command, who=who, reason="trying"))


def ask(ledger: Ledger, title: str) -> list[tuple[Any, ...]]:
    return ledger.connection.execute(ASKED[title].encode()).fetchall()


def test_every_table_is_told_and_every_column_of_those_that_may_be_asked(ledger: Ledger) -> None:
    there: dict[str, list[str]] = {}
    for table, column in ledger.connection.execute(_COLUMNS).fetchall():
        there.setdefault(table, []).append(column)
    tables = told_tables()
    assert tables.keys() == there.keys()
    told = told_columns()
    assert told.keys() == {name for name, asked in tables.items() if asked == "yes"}
    for name, columns in told.items():
        assert sorted(columns) == sorted(there[name]), name


def test_where_everything_stands_now_and_stood_then(ledger: Ledger) -> None:
    assert [(*row[:3], float(row[3]), row[4]) for row in ask(ledger, "now")] == [
        ("catalog", "service", "service", 100, None),
        ("search", "monolith", "monolith", 0, None),
    ]
    assert ask(ledger, "then") == [("catalog", "service", "service"), ("search", "monolith", "monolith")]


def test_how_an_owner_moved(ledger: Ledger) -> None:
    [(*move, ms)] = ask(ledger, "moves")
    assert move == ["catalog", "monolith", "ann", "trying", "move-complete"]
    assert 0 <= ms < 60_000


def test_who_did_what(ledger: Ledger) -> None:
    done = {(who, command): count for who, command, count, _ in ask(ledger, "who")}
    assert done["ann", "enrol"] == 2
    assert {key for key in done if key[0] == "bob"} == {("bob", each) for each in ("clear", "kill", "set")}


def test_what_two_people_agreed_upon(ledger: Ledger) -> None:
    ledger.propose("search", "retire", who="ann", reason="done with", asked={})
    assert ask(ledger, "agreed") == []
    ledger.connection.execute(
        "update strangler.proposal set confirmed_by = 'bob', confirmed_at = clock_timestamp() where who = 'ann'"
    )
    [(*agreed, _)] = ask(ledger, "agreed")
    assert agreed == ["search", "retire", "ann", "done with", "bob"]


def test_a_line_that_somebody_took_out_is_found(ledger: Ledger) -> None:
    assert ask(ledger, "whole") == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
        ledger.connection.execute("delete from strangler.history where command = 'kill'")
    ledger.connection.execute("alter table strangler.history disable trigger append_only")
    ledger.connection.execute("delete from strangler.history where command = 'kill'")
    assert [(capability, command) for _, capability, command, _ in ask(ledger, "whole")] == [("search", "clear")]


def test_who_is_let_read_reads_and_changes_nothing(ledger: Ledger, postgres: Postgres) -> None:
    database = ledger.connection.info.dbname
    role = sql.Identifier(f"{database}_auditor")
    with psycopg.connect(postgres.url(database), autocommit=True) as connection:
        connection.execute(sql.SQL("create role {}").format(role))
        try:
            grants = ASKED["let somebody read"].replace("to auditor", f"to {role.as_string(connection)}")
            ledger.connection.execute(grants.encode())
            connection.execute(sql.SQL("set role {}").format(role))
            for title in ("now", "then", "moves", "who", "agreed", "whole"):
                connection.execute(ASKED[title].encode())
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("select from strangler.publication")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("update strangler.capability set epoch = 0")
        finally:
            connection.execute("reset role")
            connection.execute(sql.SQL("drop owned by {0}; drop role {0}").format(role))
