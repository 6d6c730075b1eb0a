from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.fixtures.command import Run, printed_json
from tests.fixtures.copying import Library


@pytest.fixture
def run(library: Library, project_file: Path, command: Callable[[Path], Run]) -> Run:
    return command(project_file)


def test_a_move_from_publish_to_kill(run: Run) -> None:
    assert run("publish")[1] == "the files are in force already\n"
    assert "run the backfill first" in run("set", "books", "--reads", "10%", "--reason", "early")[2]
    code, out, _ = run("sync", "backfill", "books", "--inline")
    assert code == 0
    assert "3,493 rows copied; the service holds a snapshot of" in out
    assert "say --allow-stale" in run("set", "books", "--reads", "10%", "--reason", "early")[2]
    code, out, err = run("set", "books", "--reads", "12.5%", "--reason", "first", "--allow-stale")
    assert (code, err) == (0, "")
    assert "books: reads 0 % → 12.5 %, stage monolith → canary (epoch 2)" in out
    assert "no proxy worker is live" in out
    assert "killed, stage canary → monolith" in run("kill", "books", "--reason", "smoke")[1]
    assert "it is killed (smoke)" in run("set", "books", "--reads", "1%", "--allow-stale", "--reason", "x")[2]
    assert "kill cleared" in run("kill", "books", "--clear", "--reason", "mended")[1]
    history = printed_json(run("history", "books", "--json"))
    assert [(entry["command"], entry["who"], entry["reason"]) for entry in history[:4]] == [
        ("clear", "ann", "mended"),
        ("kill", "ann", "smoke"),
        ("set", "ann", "first"),
        ("snapshot", "ann", "backfill"),
    ]
    assert history[2]["after"]["share"] == 1_250


def test_status_tells_the_same_to_people_and_machines(run: Run) -> None:
    status = printed_json(run("status", "--json"))
    _, out, _ = run("status")
    assert status["capabilities"]["books"]["stage"] == "monolith"
    assert {key: status["capabilities"]["books"][key] for key in ("team", "contact")} == {
        "team": "Library",
        "contact": "#library",
    }
    assert "books" in out
    assert f"routing table {status['version']}; no proxy worker is live" in out


def test_check_says_every_problem_at_once_and_fails(run: Run) -> None:
    code, out, _ = run("check")
    findings = printed_json((0, *run("check", "--json")[1:]))
    assert code == 1
    assert out.count("✗") == 2
    assert "3 tables fit both databases" in out
    assert {"who looks after books": "Library, #library"}.items() <= {
        each["subject"]: each["detail"] for each in findings
    }.items()
    assert [finding["subject"] for finding in findings if finding["wrong"]] == [
        "monolith at http://127.0.0.1:1",
        "books at http://127.0.0.1:2",
    ]


def test_a_failure_is_one_sentence_without_a_traceback(run: Run) -> None:
    for words, sentence in (
        (("set", "bokks", "--reads", "1%", "--reason", "x"), "there is no capability named 'bokks'; there: books"),
        (("kill", "books", "--clear", "--reason", "x"), "there is no kill to clear, and writes are taken"),
        (("set", "books", "--cohort", "nobody=service", "--reason", "x"), "no cohort named 'nobody'"),
        (("set", "books", "--reads", "0%", "--epoch", "7", "--reason", "x"), "went from epoch 7 to 0"),
    ):
        code, out, err = run(*words)
        assert (code, out) == (1, "")
        assert err.startswith("strangler: ")
        assert sentence in err
        assert "Traceback" not in err


def test_a_misuse_says_how_it_is_used(run: Run) -> None:
    for words in (
        ("set", "books", "--reason", "x"),
        ("set", "books", "--reads", "25", "--reason", "x"),
        ("set", "books", "--reads", "25%", "--reason", " "),
        ("publish", "--reason", ""),
        ("nonsense",),
    ):
        code, _, err = run(*words)
        assert code == 2
        assert "Usage:" in err


def test_brackets_in_a_message_are_not_taken_for_markup(run: Run, project_file: Path) -> None:
    project_file.write_text(project_file.read_text().replace("$CONTROL", "$GONE"))
    code, _, err = run("status")
    assert code == 1
    assert "[control] database: found $GONE, and GONE is not set" in err


def test_a_project_that_is_not_there_is_named(run: Run, project_file: Path) -> None:
    project_file.unlink()
    code, _, err = run("status")
    assert code == 1
    assert "no such file; wanted the installation's file; name it with --project, or write it (docs/" in err


def test_a_project_in_a_folder_above_is_named(
    command: Callable[[Path], Run], project_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project_file.parent / "shop" / "app").mkdir(parents=True)
    monkeypatch.chdir(project_file.parent / "shop" / "app")
    code, _, err = command(Path(project_file.name))("status")
    assert code == 1
    assert f"name it with --project, as in --project ../../{project_file.name}, or write it" in err


def test_a_proxy_and_a_demo_without_files_say_what_would_do(run: Run, project_file: Path) -> None:
    project_file.unlink()
    code, _, err = run("proxy")
    assert code == 1
    assert "strangler proxy --origin http://127.0.0.1:8001" in err
    code, _, err = run("demo")
    assert code == 1
    assert f"there is no {project_file.parent / 'demo.toml'}; run it in a clone of the repository" in err


def test_the_history_of_what_nobody_knows_is_a_failure(run: Run) -> None:
    code, out, err = run("history", "bokks")
    assert (code, out) == (1, "")
    assert "there is no capability named 'bokks'; there: books" in err


def test_an_override_is_a_header_that_can_be_pasted(run: Run) -> None:
    code, out, _ = run("override", "books", "--for", "30m")
    assert code == 0
    assert out.startswith("X-Strangler-Override: books~service~")


def test_verify_shows_what_differs_side_by_side_and_says_so_by_its_exit_code(run: Run, library: Library) -> None:
    run("sync", "backfill", "books", "--inline")
    code, out, err = run("sync", "verify", "books")
    assert (code, err) == (0, "")
    assert "books: equal, 3,493 rows in " in out
    with psycopg.connect(library.target) as connection:
        connection.execute("update title set price_cents = 7, title = title || '!' where id = 14")
        connection.execute("delete from sold where shop = 0 and title < 40")
        connection.execute("insert into section values ('shelf 99', 'x')")
    code, out, _ = run("sync", "verify", "books")
    assert code == 1
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert {"monolith service", "id = 14", "title Bücher № 14 Bücher № 14!", "price_cents 200 7"} <= set(lines)
    assert "only in the service: code = shelf 99" in lines
    assert "books: different in section, sold, title" in lines
    code, out, _ = run("sync", "verify", "books", "--table", "title", "--rows", "0", "--json")
    [table] = json.loads(out)["tables"]
    assert (code, table["target"], table["differing"], table["differences"]) == (1, "title", 1, [])


def test_verify_says_by_its_exit_code_that_it_could_not_compare(run: Run, library: Library) -> None:
    code, _, err = run("sync", "verify", "bookz")
    assert (code, err) == (2, "strangler: there is no capability named 'bookz'; there: books\n")
    with psycopg.connect(library.target) as connection:
        connection.execute("drop table sold")
    code, _, err = run("sync", "verify", "books")
    assert code == 2
    assert "sale → sold: the target has no table sold that this role may see; run the service's SQL files" in err
