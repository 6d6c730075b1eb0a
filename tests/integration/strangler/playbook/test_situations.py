"""Playbooks of capabilities to which something has happened: each says what is so, and what is typed there succeeds."""

from __future__ import annotations

import re
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

import strangler
from strangler.capability import Stack
from strangler.cutover import conductor
from strangler.cutover.protocol import Step
from strangler.ledger import Publisher
from strangler.local import Postgres
from strangler.playbook import gather, playbook
from strangler.sync.syncing import Asked
from tests.fixtures.books import ALL, Shop
from tests.fixtures.command import printed_json
from tests.fixtures.ledger import SECRET
from tests.fixtures.moving import ADD, OBSERVED, WHY, Crash, dying, in_shadow, may, same
from tests.fixtures.postgres import PASSWORD, kill, revive
from tests.fixtures.spoiling import spoil
from tests.fixtures.waiting import until

NOWHERE = "postgresql://nobody:hidden-word@127.0.0.1:1/nothing"
MINUTES_LATER = (
    "alter table strangler.history disable trigger user",
    "update strangler.history set at = at - interval '5 minutes'",
    "alter table strangler.history enable trigger user",
)
ALL_READS = ("set", "books", "--reads", "100%", *WHY)


def book(shop: Shop, name: str = "books") -> Any:
    return printed_json(shop.say("playbook", name, "--json"))


def command(shop: Shop, name: str = "books") -> str:
    """Return the next command, without what is this installation's."""
    found = book(shop, name)["next"]["command"]
    return "" if found is None else shlex.join(shlex.split(found)[3:])


def type_next(shop: Shop, wanted: str, name: str = "books") -> None:
    """Type the next command, which is one that begins so, and see it succeed."""
    found = command(shop, name)
    assert found.startswith(wanted)
    said = shop.say(*shlex.split(found))
    assert said[0] == 0, said


def type_back(shop: Shop) -> None:
    said = shop.say(*shlex.split(book(shop)["back"]["command"])[1:])
    assert said[0] == 0, said


@contextmanager
def env(shop: Shop, name: str, value: str) -> Iterator[None]:
    """Have the project's files name another address for a while."""
    file = shop.file.parent / "env"
    was = file.read_text()
    file.write_text(re.sub(f"^{name}=.*$", f"{name}={value}", was, flags=re.MULTILINE))
    try:
        yield
    finally:
        file.write_text(was)


def test_an_unknown_capability_is_named_with_those_that_there_are(shop: Shop) -> None:
    code, out, err = shop.say("playbook", "book")
    assert (code, out) == (1, "")
    assert "there is no capability named 'book'; there: books" in err


def test_what_stands_in_the_way_of_a_beginning_is_what_the_check_says(shop: Shop) -> None:
    assert command(shop) == "sync start books --reason 'its tables are mapped'"
    assert "nothing to go back from" in book(shop)["back"]["says"]
    shop.pair.target("insert into author values (1, 'there already')")
    assert command(shop).startswith("sync start books --replace")
    shop.pair.source("alter table book drop column title")
    found = book(shop)
    assert command(shop) == "sync check books"
    stops = [each["found"] for each in printed_json_of_a_failure(shop) if each["level"] == "stop"]
    assert [each["measured"] for each in found["next"]["gates"]] == stops != []


def printed_json_of_a_failure(shop: Shop) -> Any:
    code, out, err = shop("check", "--json")
    assert code == 1, err
    return printed_json((0, out, err))


def test_gates_are_those_that_a_rehearsal_measures_and_a_kill_and_a_cutover_are_gone_back_from(shop: Shop) -> None:
    with in_shadow(shop):
        assert command(shop).startswith("set books --reads 1%")
        assert shop.say(*ALL_READS)[0] == 0
        gates = [(each["gate"], each["outcome"]) for each in book(shop)["next"]["gates"]]
        rehearsed = printed_json(shop.say("cutover", "books", "--dry-run", "--json", *WHY))
        assert gates == [(each["gate"], each["outcome"]) for each in rehearsed["gates"]]
        shop.pair.target("alter table book disable trigger strangler_fence")
        found = book(shop)
        assert ("fence", "fail") in [(each["gate"], each["outcome"]) for each in found["next"]["gates"]]
        type_next(shop, "fence raise books")
        back = book(shop)["back"]
        assert back["lost"] == "nothing: the monolith has every row"
        assert "100 % of them return" in back["readers"]
        type_back(shop)
        found = book(shop)
        assert found["stage"] == "shadow"
        assert any("it does not answer well" in each for each in found["warnings"])
        type_next(shop, "kill books --clear --reason mended")
        assert shop.say(*ALL_READS)[0] == 0
        type_next(shop, "cutover books")
        same(shop, ALL)
        found = book(shop)
        assert found["back"]["lost"].startswith("nothing: the monolith has yet to apply")
        type_next(shop, "retire books --reason")
        assert "You are ann, and cannot" in book(shop)["next"]["does"]
        assert shop.say("kill", "books", "--read-only", "--yes", *WHY)[0] == 0
        type_next(shop, "kill books --clear --reason mended")
        type_back(shop)
        assert shop.stage == "shadow"
        assert any(each["what"].startswith("move-switch") for each in book(shop)["decisions"])


def test_streams_that_nobody_applies_or_that_have_stopped_are_what_comes_first(shop: Shop) -> None:
    with in_shadow(shop):
        assert shop.say(*ALL_READS)[0] == 0
        same(shop, ALL)
    assert command(shop) == "sync run"
    back = "strangler_books_reverse"
    shop.pair.source(f"update strangler_sync.stream set given_up = 'it was given up' where name = '{back}'")
    type_next(shop, "kill books")
    assert command(shop) == "sync status books"
    slot = "select pg_drop_replication_slot('strangler_books_reverse')"
    shop.pair.source(f"update strangler_sync.stream set given_up = null where name = '{back}'")
    shop.pair.target(slot)
    type_next(shop, "sync remove books")
    type_next(shop, "sync start books --replace")
    with shop.running():
        until(lambda: command(shop) == "sync backfill books --inline", "it is to be copied", 20)
        assert shop("backfill", "--inline")[0] == 0
        assert command(shop) == "kill books --clear --reason mended"


def test_sides_that_differ_are_repaired_and_compared_before_anybody_reads(shop: Shop) -> None:
    with in_shadow(shop):
        spoil(shop.pair, "update book set title = 'Another' where id = 7")
        assert shop("verify")[0] == 1
        type_next(shop, "sync repair books")
        type_next(shop, "sync verify books")
        assert command(shop).startswith("set books --reads 1%")


def test_a_move_that_somebody_left_is_brought_to_its_end(shop: Shop) -> None:
    asked = Asked(capability="books", who="ann", reason="trying")
    with in_shadow(shop):
        pass
    with Publisher.open(shop.project) as publisher:
        with pytest.raises(Crash):
            conductor.move(asked, shop.project, publisher, told=dying(Step.HOLD, Crash))
        found = book(shop)
        assert found["next"]["title"] == "Wait: the owner is being moved"
        assert command(shop) == "status"
        for statement in MINUTES_LATER:
            publisher.ledger.connection.execute(statement.encode())
        type_next(shop, "resume books")
        assert shop.state["move"]["phase"] == "aborted"


def test_a_ledger_that_does_not_answer_is_named_and_nothing_is_claimed(shop: Shop) -> None:
    with env(shop, "CONTROL", NOWHERE):
        found = book(shop)
        assert (found["stage"], command(shop), found["back"]["command"]) == ("not known", "check", None)
        assert {"the ledger", "who writes its tables"} <= found["unseen"].keys()
        page = shop.say("playbook", "books")[1]
    assert "does not answer" in page
    for secret in ("hidden-word", PASSWORD, SECRET):
        assert secret not in page + str(found)


def test_a_database_that_never_answers_is_not_waited_for(shop: Shop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/nothing"
        with env(shop, "SOURCE", where):
            begun = time.monotonic()
            project = shop.project
            facts = gather(project.capabilities["books"], project, who="ann", within_s=1.0)
            assert time.monotonic() - begun < 4
    found = playbook(facts)
    assert found.stage == "monolith"
    assert dict(found.unseen)["the monolith's database"] == "it did not answer within 1 s"


def test_a_capability_without_tables_and_one_that_was_born_in_its_service_have_their_own_ends(shop: Shop) -> None:
    for name, more in (("search", ""), ("wishes", 'born = "service"\n')):
        folder = shop.file.parent / "migrations" / name
        folder.mkdir()
        (folder / "capability.toml").write_text(f'service = "books"\n{more}[[route]]\npath = "/{name}"\n')
    type_next(shop, "publish --reason 'the files of search'", "search")
    for share in ("1%", "10%", "50%", "100%"):
        type_next(shop, f"set search --reads {share}", "search")
    found = book(shop, "search")
    assert (found["next"]["step"], found["next"]["command"]) == ("end", None)
    assert "kill search" in found["back"]["command"]
    born = book(shop, "wishes")
    assert (born["next"]["command"], born["back"]["command"]) == (None, None)
    assert "only its service has the data" in born["back"]["says"]


def test_files_that_are_not_what_is_published_are_published_first(shop: Shop) -> None:
    file = shop.file.parent / "migrations" / "books" / "capability.toml"
    file.write_text(file.read_text() + '[[route]]\npath = "/novels"\n')
    type_next(shop, "publish --reason 'the files of books'")
    assert command(shop).startswith("sync start books")


def test_a_dead_service_that_owns_is_left_by_force_and_begun_anew(apart: Shop, service_server: Postgres) -> None:
    shop = apart
    with in_shadow(shop):
        assert shop.say("cutover", "books", *WHY)[0] == 0
        same(shop, ALL)
    assert may(shop, Stack.SERVICE, ADD.format(600, 600))
    kill(service_server)
    try:
        found = book(shop)
        assert "will be lost" in found["back"]["lost"]
        assert "the service's database" in found["unseen"]
        type_next(shop, "rollback books --force --dry-run")
        [by_force] = [each["command"] for each in found["back"]["others"]]
        assert shop.say(*shlex.split(by_force)[1:])[0] == 0
        assert command(shop) == "sync run"
    finally:
        revive(service_server)
    type_next(shop, "resume books")
    type_next(shop, "sync start books --replace")


def test_a_page_is_written_with_links_to_where_the_documentation_is(shop: Shop) -> None:
    with psycopg.connect(shop.project.control.database.reveal()) as control:
        control.execute(OBSERVED)
    file = shop.file.parent / "books.html"
    assert shop.say("playbook", "books", "--html", str(file), "--docs", "https://docs.example/s")[0] == 0
    page = file.read_text()
    assert 'href="https://docs.example/s/how-to/sync/#check"' in page
    assert f"strangler --project {shop.file} sync start books" in re.sub("</?span>", "", page)
    assert "(docs/how-to/sync.md#check)" in shop.say("playbook", "books")[1]
    nowhere = shop.file.parent / "nowhere" / "books.html"
    assert "cannot be written: No such file" in shop.say("playbook", "books", "--html", str(nowhere))[2]


def test_without_jinja_it_is_said_what_to_install(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.startswith("strangler.playbook")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(strangler, "playbook")
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert "run: pip install 'strangler[playbook]'" in shop.say("playbook", "books")[2]
