"""What comparisons found, kept in the control database and told by ``sync status``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import psycopg
import pytest

from strangler.ledger import Publisher
from strangler.project import load
from strangler.sync import verdicts
from strangler.sync.direction import Way
from strangler.sync.verify import Verdict
from tests.fixtures.command import Run, printed_json
from tests.fixtures.copying import Library


@pytest.fixture
def say(library: Library, project_file: Path, command: Any) -> Run:
    project = load(project_file)
    with Publisher.open(project) as publisher:
        publisher.enrol(project, who="ann", reason="first")
    run: Run = command(project_file)
    return run


def control(library: Library) -> psycopg.Connection:
    return psycopg.connect(library.project.control.database.reveal(), autocommit=True)


def told(say: Run) -> dict[str, Any]:
    [found] = printed_json(say("sync", "status", "--json"))
    return {name: found[name] for name in ("verified", "verified_in_part")}


def test_the_last_verdict_is_told_until_there_is_a_later_one(library: Library, say: Run) -> None:
    assert told(say) == {"verified": None, "verified_in_part": None}
    code, out, _ = say("sync", "verify", "books")
    assert (code, "different" in out) == (1, True)
    first = told(say)["verified"]
    assert (first["equal"], first["part"], first["rows"] > 0, first["differing"] > 0) == (False, None, True, True)
    assert 0 <= first["age_s"] < 60
    assert re.search(r"verified \d{1,2} s ago: different in", say("sync", "status")[1])
    say("sync", "backfill", "books", "--inline")
    assert say("sync", "verify", "books")[0] == 0
    assert told(say)["verified"]["equal"]
    assert ": equal, " in say("sync", "status")[1]


def test_a_part_is_told_beside_the_last_whole_one(library: Library, say: Run) -> None:
    say("sync", "verify", "books", "--table", "title")
    assert told(say)["verified"] is None
    assert told(say)["verified_in_part"]["part"] == "title"
    assert " rows (title) in " in say("sync", "status")[1]
    verdict = Verdict(capability="books", tables=(), seconds=0.1)
    with control(library) as connection:
        verdicts.keep(connection, verdict, None)
    assert told(say)["verified_in_part"] is None


def test_few_are_kept_and_the_last_whole_one_among_them(library: Library, say: Run) -> None:
    verdict = Verdict(capability="books", tables=(), seconds=0.1)
    with control(library) as connection:
        verdicts.keep(connection, verdict, None)
        for _ in range(15):
            verdicts.keep(connection, verdict, "title")
        verdicts.keep(connection, Verdict(capability="toys", tables=(), seconds=0.1), None)
        rows = connection.execute("select part from strangler.verification where capability = 'books'").fetchall()
        found = verdicts.last(connection, "books")
        assert (rows.count(("title",)), rows.count((None,))) == (10, 1)
        assert found.whole is not None
        assert found.part is not None
        verdicts.forget(connection, "books")
        assert verdicts.last(connection, "books") == verdicts.Last()
        assert verdicts.last(connection, "toys").whole is not None


def test_the_last_whole_one_of_each_way_is_kept(library: Library, say: Run) -> None:
    verdict = Verdict(capability="books", tables=(), seconds=0.1)
    with control(library) as connection:
        verdicts.keep(connection, verdict, None, {Way.REVERSE: "0/7"})
        for _ in range(15):
            verdicts.keep(connection, verdict, None, {Way.FORWARD: "0/8"})
        assert verdicts.last_whole(connection, "books", Way.REVERSE) == (True, "0/7")
        assert verdicts.last_whole(connection, "books", Way.FORWARD) == (True, "0/8")
        verdicts.keep(connection, verdict, None)
        assert verdicts.last_whole(connection, "books", Way.REVERSE) == (True, None)


def test_a_verdict_that_cannot_be_kept_is_a_verdict_all_the_same(library: Library, say: Run) -> None:
    with control(library) as connection:
        connection.execute("drop table strangler.verification")
    code, out, err = say("sync", "verify", "books", "--table", "title")
    assert (code, "different" in out) == (1, True)
    assert "the ledger is of a release before; run: strangler publish" in err
    assert told(say)["verified"] is None


def test_one_without_a_control_database_says_so(library: Library, say: Run, project_file: Path) -> None:
    env = project_file.parent / "env"
    env.write_text(env.read_text().replace("CONTROL=", "CONTROL=postgresql://127.0.0.1:1/away\nWAS="))
    code, out, err = say("sync", "verify", "books", "--table", "title")
    assert (code, "different" in out) == (1, True)
    assert "this verdict is not kept for sync status: the control database does not answer" in err
