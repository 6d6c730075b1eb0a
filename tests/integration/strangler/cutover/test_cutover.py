"""The owner moves there and back, by the command line, between real databases whose streams run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from strangler.capability import Phase, Refused, Stack
from strangler.cli import cutover as cutover_verb
from strangler.cli import verify
from strangler.cutover import conductor, moving
from strangler.cutover.conductor import Performed
from strangler.cutover.protocol import End, Step
from strangler.ledger import Publisher
from strangler.sync import fence, fencing
from strangler.sync.syncing import Asked
from tests.fixtures.books import ALL, Shop
from tests.fixtures.command import printed_json
from tests.fixtures.ledger import ScriptedWorker
from tests.fixtures.moving import ADD, WHY, Crash, dying, in_shadow, may, owners, same, write
from tests.fixtures.spoiling import spoil
from tests.fixtures.waiting import until


def comparisons(shop: Shop) -> int:
    """Return how many comparisons of all rows are known."""
    with psycopg.connect(shop.project.control.database.reveal()) as control:
        rows = control.execute("select from strangler.verification where part is null").fetchall()
    return len(rows)


def autovacuum(shop: Shop) -> list[Any]:
    asked = "select reloptions from pg_class where relname in ('author', 'book') order by relname"
    return [*shop.pair.source(asked), *shop.pair.target(asked)]


def test_the_owner_moves_there_and_back_with_all_that_was_written(shop: Shop) -> None:
    before = autovacuum(shop)
    with ScriptedWorker(shop.project, "one"), in_shadow(shop):
        shop.pair.source(ADD.format(600, 600))
        there = printed_json(shop.say("cutover", "books", *WHY, "--json"))
        assert (there["end"], there["owner"], owners(shop)) == ("moved", "service", ["service"])
        assert there["pause_ms"] < 2_000
        shop.pair.target(
            ADD.format(601, 601), "delete from book where id = 600", "update author set name = 'Z' where id = 1"
        )
        same(shop, "select id, name from author order by id")
        same(shop, ALL)
        back = printed_json(shop.say("rollback", "books", *WHY, "--json"))
        assert (back["end"], back["owner"], owners(shop)) == ("moved", "monolith", ["monolith"])
        shop.pair.source(ADD.format(602, 602))
        same(shop, ALL)
        again = printed_json(shop.say("cutover", "books", *WHY, "--json"))
        assert (again["end"], owners(shop)) == ("moved", ["service"])
    assert autovacuum(shop) == before
    history = printed_json(shop.say("history", "books", "--json"))
    moves = [entry for entry in history if entry["command"] == "move-complete"]
    assert [entry["evidence"]["drained"]["marker"] for entry in moves] == [
        again["epoch"],
        back["epoch"],
        there["epoch"],
    ]
    proof = moves[2]["evidence"]["proof"]
    assert (proof["compared"], proof["fenced"]) == ({"book": 1}, 0), "it was compared before anybody waited"


def test_after_a_cutover_everything_goes_by_the_owner(shop: Shop) -> None:
    with in_shadow(shop):
        assert shop.say("cutover", "books", *WHY)[0] == 0
        assert may(shop, Stack.SERVICE, ADD.format(600, 600))
        assert shop("verify")[0] == 0
        assert "the service owns books, and only a service's copy is repaired" in shop("repair", *WHY)[2]
        assert shop.say("set", "books", "--reads", "50%", *WHY)[0] == 0
        for refused in ("start", "remove"):
            assert "its service owns the data: roll back first" in shop(refused)[2]
        assert "the service owns books already" in shop.say("cutover", "books", *WHY)[2]
        assert shop.say("rollback", "books", *WHY)[0] == 0


def test_what_is_written_meanwhile_is_on_both_sides_once(shop: Shop) -> None:
    over, written = threading.Event(), dict[int, Stack]()

    def writing(first: int) -> None:
        number = first
        while not over.is_set():
            written[number] = write(shop, number)
            number += 1

    with in_shadow(shop), ThreadPoolExecutor(3) as hands:
        writers = [hands.submit(writing, first) for first in (10_000, 20_000, 30_000)]
        try:
            until(lambda: len(written) > 20, "they write")
            for verb in ("cutover", "rollback", "cutover"):
                printed_json(shop.say(verb, "books", *WHY, "--json"))
                now = len(written)
                until(lambda now=now: len(written) > now + 20, "they write on")  # type: ignore[misc]
        finally:
            over.set()
        for each in writers:
            each.result()
        assert set(written.values()) == {Stack.MONOLITH, Stack.SERVICE}
        asked = "select id from book where id >= 10000 order by id"
        same(shop, asked)
        assert [number for (number,) in shop.pair.source(asked)] == sorted(written)


def test_a_writer_that_stays_keeps_the_owner_where_it_is(shop: Shop) -> None:
    with in_shadow(shop):
        before = autovacuum(shop)
        with psycopg.connect(shop.pair.forward.source_url) as holding:
            holding.execute(ADD.format(600, 600))
            code, out, err = shop.say("cutover", "books", *WHY, "--pause-budget", "300ms")
            assert code == 1
            assert "books stays with the monolith (aborted): fence: the fence of books in the database of the" in err
            assert f"process {holding.info.backend_pid}" in err
            assert "finish abort" in out
            holding.commit()
        assert (owners(shop), autovacuum(shop)) == (["monolith"], before)
        state = printed_json(shop.say("status", "--json"))["capabilities"]["books"]
        assert (state["stage"], state["move"]["phase"]) == ("shadow", "aborted")
        assert shop.say("cutover", "books", *WHY)[0] == 0


def test_a_worker_that_has_writes_under_way_keeps_the_owner_where_it_is(shop: Shop) -> None:
    with ScriptedWorker(shop.project, "one") as worker, in_shadow(shop):
        worker.in_flight = 1
        code, _, err = shop.say("cutover", "books", *WHY, "--pause-budget", "300ms")
        assert code == 1
        assert "hold: 1 of 1 workers may still write to books: scripted one (1 under way)" in err
        assert owners(shop) == ["monolith"]


def test_a_dry_run_measures_and_moves_nothing(shop: Shop) -> None:
    with in_shadow(shop):
        code, out, _ = shop.say("cutover", "books", *WHY, "--dry-run")
        assert code == 0
        assert "books would move now; nothing was changed" in out
        for gate in ("state", "stream", "way back", "verify", "fence", "locks at the monolith", "proxies"):
            assert gate in out
        assert owners(shop) == ["monolith"]
    code, out, _ = shop.say("cutover", "books", *WHY, "--dry-run")
    assert (code, "would not begin" in out) == (1, True)
    assert "books stays with its owner: stream: nobody applies it" in shop.say("cutover", "books", *WHY)[2]


def test_nobody_has_to_have_looked_at_who_writes_where_it_is_said_so(shop: Shop) -> None:
    with in_shadow(shop):
        with psycopg.connect(shop.project.control.database.reveal()) as control:
            control.execute("delete from strangler.observation")
        told = shop.say("cutover", "books", *WHY)
        assert "books stays with its owner: writers: nobody has looked at who writes these tables" in told[2]
        assert "strangler fence observe books" in told[1]
        assert shop.say("cutover", "books", *WHY, "--unobserved")[0] == 0
        [last, *_] = printed_json(shop.say("history", "books", "--json"))
        assert last["evidence"]["writers"] == "nobody has looked at who writes these tables, which --unobserved allows"
        assert shop.say("rollback", "books", *WHY)[0] == 0


def test_a_fence_that_was_passed_is_raised_anew_and_all_rows_are_compared_after_it(shop: Shop) -> None:
    refused = "in stage monolith no fence can be raised anew; there is none: strangler sync start"
    assert refused in shop.say("fence", "raise", "books", *WHY)[2]
    with in_shadow(shop):
        assert shop.say("cutover", "books", *WHY, "--dry-run")[0] == 0
        known = comparisons(shop)
        shop.pair.target(
            "alter table book disable trigger strangler_fence", "alter table book enable always trigger strangler_fence"
        )
        code, out, _ = shop.say("cutover", "books", *WHY, "--dry-run")
        assert (code, "strangler fence raise books, then" in " ".join(out.split())) == (1, True)
        code, out, err = shop.say("fence", "raise", "books", *WHY)
        assert (code, err) == (0, "")
        assert "the trigger strangler_fence of public.book was altered" in out
        assert not may(shop, Stack.SERVICE, "delete from book where id < 0")
        assert comparisons(shop) == known
        # What was known of the rows from before does not count: all of them are compared once more, and only once.
        for _ in range(2):
            assert shop.say("cutover", "books", *WHY, "--dry-run")[0] == 0
            assert comparisons(shop) == known + 1
        assert shop.say("cutover", "books", *WHY)[0] == 0
        commands = [entry["command"] for entry in printed_json(shop.say("history", "books", "--json"))]
        assert [each for each in commands if each.startswith("fence")] == ["fence-raised", "fence-raise"]


def one_line(out: str) -> str:
    return " ".join(out.split())


def test_a_fence_that_was_passed_on_the_monolith_s_side_is_raised_anew(shop: Shop) -> None:
    disabled = "the trigger strangler_fence of public.book is disabled"
    with in_shadow(shop):
        assert shop.say("cutover", "books", *WHY)[0] == 0
        shop.pair.source("alter table book disable trigger strangler_fence")
        assert owners(shop) == ["monolith", "service"]
        assert disabled in one_line(shop.say("fence", "status", "books")[1])
        code, out, err = shop.say("rollback", "books", *WHY)
        assert (code, f"fence: the monolith: {disabled}" in one_line(err)) == (1, True), err
        assert "strangler fence raise books, then see what was written there" in one_line(out)

        code, out, err = shop.say("fence", "raise", "books", *WHY)
        assert (code, err) == (0, "")
        assert "books: the monolith is fenced as its tables are now" in out
        assert f"since it was raised last: {disabled}" in out
        assert owners(shop) == ["service"]
        assert disabled not in one_line(shop.say("fence", "status", "books")[1])

        known = comparisons(shop)
        for _ in range(2):  # what was known from before does not count, and is not asked for twice
            assert shop.say("rollback", "books", *WHY, "--dry-run")[0] == 0
            assert comparisons(shop) == known + 1
        assert may(shop, Stack.SERVICE, ADD.format(600, 600))
        assert shop.say("rollback", "books", *WHY)[0] == 0
        assert owners(shop) == ["monolith"]
        same(shop, ALL)


def test_rows_that_differ_keep_the_owner_where_it_is_and_nobody_waits(shop: Shop) -> None:
    with in_shadow(shop):
        shop.pair.source("update book set title = 'Changed' where id = 7")
        same(shop, ALL)
        spoil(shop.pair, "update book set title = 'Spoiled' where id = 7")
        before = printed_json(shop.say("status", "--json"))["capabilities"]["books"]["epoch"]
        code, out, err = shop.say("cutover", "books", *WHY)
        assert (code, "1 changed rows differ" in err, "prepare" in out) == (1, True, False), (out, err)
        assert printed_json(shop.say("status", "--json"))["capabilities"]["books"]["epoch"] == before
        assert owners(shop) == ["monolith"]


@dataclass
class Written:
    """How often a statement was run, and how often a fence refused it."""

    times: int = 0
    refused: int = 0


@contextmanager
def written_all_the_time(shop: Shop, statement: str) -> Iterator[Written]:
    """Run a statement of the monolith's without a pause; it has the number of its turn in it."""
    over, found = threading.Event(), Written()

    def write_on() -> None:
        with psycopg.connect(shop.pair.forward.source_url, autocommit=True) as source:
            while not over.is_set():
                try:
                    source.execute(statement.format(found.times + 1).encode())
                    found.times += 1
                except psycopg.Error as exc:
                    if exc.sqlstate != fencing.STATE:
                        raise
                    found.refused += 1

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write_on)
        try:
            until(lambda: found.times > 100, "it is written")
            yield found
        finally:
            over.set()
            writing.result(20)


def test_a_row_that_is_written_all_the_time_keeps_nobody(shop: Shop) -> None:
    with in_shadow(shop):
        with written_all_the_time(shop, "update author set name = 'Name {}' where id = 1") as written:
            assert shop("verify")[0] == 0
            assert shop.say("cutover", "books", *WHY)[0] == 0
            until(lambda: written.refused > 0, "the monolith's writes are refused")
        assert shop.pair.target("select name from author where id = 1") == [(f"Name {written.times}",)]


def test_a_row_that_differs_and_is_written_all_the_time_is_found_under_the_fence(shop: Shop) -> None:
    # So long a value is sent when it changes, and the row's others without it: what was spoiled stays.
    shop.pair.source("alter table book alter title set storage external")
    shop.pair.source("update book set title = repeat('x', 2100) where id = 7")
    # So many that no two looks meet the same: of 30 a row written all the time seemed to stand still now and then.
    shop.pair.source("insert into author select n, 'Author ' || n from generate_series(31, 50000) n")
    with in_shadow(shop):
        spoil(shop.pair, "update book set title = 'Spoiled' where id = 7")
        with written_all_the_time(shop, "update book set author_id = 1 + {} % 50000 where id = 7") as written:

            def refused() -> bool:
                code, out, err = shop.say("cutover", "books", *WHY)
                assert (code, "1 changed rows differ" in err) == (1, True), (out, err)
                return written.refused > 0

            # The writer may have had to wait, and its row stood still: then it is found before.
            until(refused, "the row is found where nobody writes", 60)
        assert owners(shop) == ["monolith"]
        assert shop.pair.target("select title from book where id = 7") == [("Spoiled",)]


def test_what_changes_while_the_proof_is_made_ready_is_compared_under_the_fence(shop: Shop) -> None:
    asked = Asked(capability="books", who="ann", reason="trying")
    with in_shadow(shop), Publisher.open(shop.project) as publisher:

        def told(step: Performed) -> None:
            if step.step is Step.PREPARE:
                shop.pair.source(ADD.format(600, 600))

        moved = conductor.move(asked, shop.project, publisher, told=told)
        assert moved.end is End.MOVED
        proof = moved.evidence["proof"]
        assert (proof["compared"], proof["fenced"]) == ({"book": 1}, 1)


FORTH = [Step.PREPARE, Step.CLAIM_SOURCE, Step.CLAIM_TARGET, Step.HOLD, Step.FENCE, Step.DRAIN, Step.PROVE, Step.SWITCH]


def test_a_conductor_that_dies_after_any_step_leaves_a_way_on(shop: Shop) -> None:
    asked = Asked(capability="books", who="ann", reason="trying")
    with in_shadow(shop), Publisher.open(shop.project) as publisher:
        for number, last in enumerate([*FORTH, Step.UNFENCE, Step.FINISH], 700):
            owner = publisher.ledger.state("books").owner
            moving.gates(asked, shop.project, publisher, print, verify.watched)
            with pytest.raises(Crash):
                conductor.move(asked, shop.project, publisher, told=dying(last, Crash))
            assert len(owners(shop)) <= 1, last
            if last is Step.FENCE:
                assert "strangler resume books" in shop.say("cutover", "books", *WHY)[2]
            # Sooner than whoever keeps the streams going would.
            moved = conductor.carry_on(asked, shop.project, publisher, told=lambda _: None)
            state = publisher.ledger.state("books")
            gone = last in (Step.SWITCH, Step.UNFENCE, Step.FINISH)
            assert (moved.end if moved else End.MOVED) is (End.MOVED if gone else End.ABORTED), last
            assert owners(shop) == [str(state.owner)] == [str(owner.other if gone else owner)], last
            assert state.move is not None
            assert state.move.phase is (Phase.DONE if gone else Phase.ABORTED), last
            write(shop, number)
            same(shop, ALL)


@pytest.mark.parametrize(("last", "owner"), [(Step.FENCE, Stack.MONOLITH), (Step.SWITCH, Stack.SERVICE)])
def test_a_conductor_that_is_interrupted_ends_what_it_has_begun(shop: Shop, last: Step, owner: Stack) -> None:
    asked = Asked(capability="books", who="ann", reason="trying")
    with in_shadow(shop), Publisher.open(shop.project) as publisher:
        with pytest.raises(KeyboardInterrupt):
            conductor.move(asked, shop.project, publisher, told=dying(last, KeyboardInterrupt))
        state = publisher.ledger.state("books")
    assert (state.moving, state.owner, owners(shop)) == (None, owner, [str(owner)])


def test_files_that_are_not_what_is_published_move_nothing(shop: Shop) -> None:
    asked = Asked(capability="books", who="ann", reason="trying")
    with in_shadow(shop), Publisher.open(shop.project) as publisher:
        file = shop.file.parent / "migrations" / "books" / "capability.toml"
        file.write_text(file.read_text() + '[[route]]\npath = "/novels"\n')
        moved = conductor.move(asked, shop.project, publisher, told=lambda _: None)
    assert (moved.end, moved.why) == (End.REFUSED, "prepare: the files of books here are not what is published")
    assert owners(shop) == ["monolith"]


@pytest.mark.parametrize(("last", "owner"), [(Step.FENCE, Stack.MONOLITH), (Step.SWITCH, Stack.SERVICE)])
def test_who_keeps_the_streams_going_ends_a_move_that_somebody_has_left(shop: Shop, last: Step, owner: Stack) -> None:
    asked = Asked(capability="books", who="ann", reason="trying")
    shop("start")
    with shop.running() as told, Publisher.open(shop.project) as publisher:
        assert shop("backfill", "--inline")[0] == 0
        with pytest.raises(Crash):
            conductor.move(asked, shop.project, publisher, told=dying(last, Crash), pause_s=0.5)
        until(lambda: publisher.ledger.state("books").moving is None, "it has ended", 20)
        assert publisher.ledger.state("books").owner is owner
        assert owners(shop) == [str(owner)]
        until(lambda: told, "it is told")
        assert "books: whoever moved the owner has left it; it is" in told[0]
        assert f"and the {owner} owns it" in told[0]


def test_a_ledger_that_was_restored_from_a_backup_moves_and_removes_nothing(shop: Shop) -> None:
    """By it the monolith owns still, and what the service has written since would be emptied."""
    with in_shadow(shop), Publisher.open(shop.project) as publisher:
        control = publisher.ledger.connection
        [before] = control.execute("select epoch, state from strangler.capability where name = 'books'").fetchall()
        assert shop.say("cutover", "books", *WHY)[0] == 0
        assert may(shop, Stack.SERVICE, ADD.format(600, 600))
        restore = "update strangler.capability set epoch = %s, state = %s where name = 'books'"
        control.execute(restore, [before[0], Jsonb(before[1])])
        code, out, err = shop.say("cutover", "books", *WHY)
        assert (code, "ledger: epoch 2, and yet the monolith's database stands at epoch 3" in err) == (1, True)
        assert "restore the newer ledger" in out
        refused = "by the databases the service owns them, and by the ledger the monolith does (epoch 2)"
        assert refused in shop("remove")[2]
        assert owners(shop) == ["service"]
        assert shop.pair.target("select id from book where id = 600") == [(600,)]


def test_somebody_else_s_move_is_not_gone_on_with_the_other_way(shop: Shop) -> None:
    asked = Asked(capability="books", who="ann", reason="trying")
    with in_shadow(shop), Publisher.open(shop.project) as publisher:
        epoch = publisher.ledger.state("books").epoch
        assert shop.say("cutover", "books", *WHY)[0] == 0
        with pytest.raises(Refused, match=f"books went from epoch {epoch} to {epoch + 3} meanwhile"):
            conductor.move(asked, shop.project, publisher, told=lambda _: None, epoch=epoch)
        assert owners(shop) == ["service"]


def test_whoever_is_stopped_while_it_raises_a_fence_is_let_go_of(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds every table; by itself its session would do so for as long as it is stopped."""
    seen, sleeping = threading.Event(), threading.Event()
    emit = fence._emit

    def stopped(*arguments: Any) -> int:
        seen.set()
        sleeping.wait(20)
        return emit(*arguments)

    with in_shadow(shop), shop.pair.forward.open() as (source, _), ThreadPoolExecutor(1) as hand:
        fence.claim(source, "books", 9)
        around = fencing.fence_of(shop.pair.back)
        monkeypatch.setattr(fence, "_emit", stopped)
        raising = hand.submit(fence.raise_fence, source, around, epoch=9, owner=Stack.SERVICE, budget_s=1)
        assert seen.wait(10)
        assert may(shop, Stack.MONOLITH, ADD.format(600, 600)), "its session was ended, and its locks with it"
        sleeping.set()
        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
            raising.result()


def test_a_resume_that_is_interrupted_says_so_and_leaves_the_move_to_others(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(capability="books", who="ann", reason="trying")
    with in_shadow(shop), Publisher.open(shop.project) as publisher:
        with pytest.raises(Crash):
            conductor.move(asked, shop.project, publisher, told=dying(Step.FENCE, Crash), pause_s=30)
        monkeypatch.setattr(cutover_verb, "say", dying(Step.RECLAIM, KeyboardInterrupt))
        code, _, err = shop.say("resume", "books", *WHY)
        assert (code, "Traceback" in err) == (130, False)
        assert "books: left as it is; strangler sync run brings the move to its end" in err
        monkeypatch.setattr(cutover_verb, "say", lambda _: None)
        assert owners(shop) == []
        assert shop.say("resume", "books", *WHY)[0] == 0
        assert owners(shop) == ["monolith"]
