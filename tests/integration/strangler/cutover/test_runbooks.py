"""What the pages say that somebody types at two in the morning is typed here, in the situation that it is for."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Final, cast

import httpx
import psycopg
import pytest
import typer

from strangler.capability import Stack
from strangler.cli import streams, verify
from strangler.cutover import conductor, forcing, moving
from strangler.cutover.gates import passes
from strangler.cutover.protocol import Step
from strangler.ledger import Publisher
from strangler.sync import holding
from strangler.sync.metrics import Streams
from strangler.sync.syncing import Asked
from tests.fixtures.books import ALL, Shop
from tests.fixtures.command import Said, printed_json
from tests.fixtures.moving import ADD, WHY, Crash, dying, in_shadow, may, owners, same
from tests.fixtures.ports import free_port
from tests.fixtures.proxy import Client, Origin, Served
from tests.fixtures.runbook import HOW_TO, Section, Typed, commands, every, runs
from tests.fixtures.spoiling import spoil
from tests.fixtures.waiting import until

PAGES: Final = (
    "observe-writers",
    "cutover",
    "kill",
    "forced-rollback",
    "retire",
    "alarms-proxy",
    "alarms-sync",
)
MOVES: Final = (("alarms-sync", "StranglerMoveStuck"), ("alarms-sync", "StranglerServiceUnfenced"))
PASSED: Final = ("cutover", "When somebody got past the monolith's fence")
CLAIMED: Final[set[Section]] = set()
ASKED: Final = Asked(capability="books", who="ann", reason="trying")


@pytest.fixture
def typed(request: pytest.FixtureRequest) -> Iterator[Typed]:
    """A person at a terminal, who is to type every command of the sections that the test has claimed."""
    found = Typed(request.param)
    yield found
    assert found.left == []


def words(said: Said) -> str:
    """Return what was printed, in one line: a terminal breaks it anywhere."""
    return " ".join(said[1].split())


def measured(shop: Shop, name: str) -> list[float]:
    """Return the samples of a metric of the sync, as Prometheus is told them."""
    found = [each for family in Streams(shop.project).collect() for each in family.samples]
    return [each.value for each in found if each.name == f"strangler_sync_{name}"]


def may_begin(shop: Shop, publisher: Publisher) -> bool:
    """Return whether every gate holds; all rows are compared where that is not known."""
    return passes(moving.gates(ASKED, shop.project, publisher, lambda _: None, verify.watched))


def leave(shop: Shop, last: Step) -> None:
    """Have a conductor die after a step, long before anybody would help."""
    with Publisher.open(shop.project) as publisher:
        until(lambda: may_begin(shop, publisher), "it may begin")
        with pytest.raises(Crash):
            conductor.move(ASKED, shop.project, publisher, told=dying(last, Crash), pause_s=30)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_the_pages_is_claimed_by_a_test_that_types_it(page: str) -> None:
    assert {each for each in every(page) if each not in CLAIMED} == set()


def test_nothing_is_claimed_that_no_page_has() -> None:
    assert [each for each in CLAIMED if not commands(each)] == []


@runs(CLAIMED, *every("observe-writers"), *(each for each in every("cutover") if each != PASSED), *every("retire"))
def test_a_first_cutover_from_who_writes_to_retired(shop: Shop, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    observe, run = typed.of("observe-writers", "Observe")
    report, allow = typed.of("observe-writers", "Read the report")
    [all_reads] = typed.of("cutover", "Before the first one")
    [rehearse] = typed.of("cutover", "See whether it would begin")
    move, some_reads = typed.of("cutover", "Move it")
    [back] = typed.of("cutover", "Go back")
    _, resume, history = typed.of("cutover", "When the command was killed")
    shop("start")
    with typed.running(shop, run):
        assert shop("backfill", "--inline")[0] == 0
        assert typed(shop, all_reads)[0] == 0
        assert typed(shop, observe)[0] == 0
        assert may(shop, Stack.MONOLITH, "/* strangler command=reindex */ update book set title = title where id = 4")
        until(lambda: "command:reindex" in words(typed(shop, report)), "it was seen", 20)
        _a_week_passes(shop)
        said = typed(shop, rehearse)
        assert (said[0], "from outside: command:reindex" in words(said)) == (1, True)
        assert typed(shop, allow)[0] == 0
        said = typed(shop, rehearse)
        assert (said[0], "books would move now; nothing was changed" in said[1]) == (0, True)
        assert typed(shop, move)[0] == 0
        assert may(shop, Stack.SERVICE, ADD.format(600, 600))
        assert typed(shop, some_reads)[0] == 0
        assert typed(shop, back)[0] == 0
        assert shop.pair.source("select id from book where id = 600") == [(600,)]
        leave(shop, Step.FENCE)
        assert "(to be the service)" in shop.say("status")[1]
        assert typed(shop, resume)[0] == 0
        assert shop.state["move"]["phase"] == "aborted"
        told = {each["command"]: each["evidence"] for each in reversed(printed_json(typed(shop, history)))}
        assert set(told["move-aborted"]["steps_ms"]) == {"abort", "reclaim", "lower"}
        assert {"fence", "drained", "proof", "steps_ms"} <= set(told["move-complete"])
        assert typed(shop, move)[0] == 0
        _retired(shop, typed, monkeypatch)


@runs(CLAIMED, PASSED)
def test_rows_written_past_the_monolith_s_fence_stop_the_way_back_until_they_are_undone(
    shop: Shop, typed: Typed
) -> None:
    status, raise_, verify_, refill = typed.of(*PASSED)
    written = "public.book was written in the monolith's database, which does not own it; nothing of that is applied"
    retitled = "update book set title = '{}' where id = 7"
    with in_shadow(shop):
        assert shop.say("cutover", "books", *WHY)[0] == 0
        _past_the_fence(shop, ADD.format(700, 700), retitled.format("Stray"))
        until(lambda: written in str(_problem(shop)), "the stream has met it", 20)
        assert shop.pair.target("select title from book where id in (7, 700)") == [("Book 7",)]
        assert typed(shop, status)[0] == 0
        assert typed(shop, raise_)[0] == 0
        code, _, err = shop.say("rollback", "books", *WHY)
        assert (code, f"way back: {written}" in " ".join(err.split())) == (1, True)
        assert typed(shop, verify_)[0] == 1
        code, _, err = shop.say("rollback", "books", *WHY)
        assert (code, "make them in the monolith what the service has" in " ".join(err.split())) == (1, True)

        assert may(shop, Stack.SERVICE, ADD.format(600, 600))
        assert typed(shop, refill)[0] == 0
        assert _problem(shop) is None
        assert may(shop, Stack.SERVICE, retitled.format("Later"))
        same(shop, ALL)
        assert shop.say("rollback", "books", *WHY)[0] == 0
        assert owners(shop) == ["monolith"]
        stray = "select id, title from book where id in (7, 600, 700) order by 1"
        assert shop.pair.source(stray) == [(7, "Later"), (600, "New 600")]
        assert may(shop, Stack.MONOLITH, ADD.format(800, 800))
        same(shop, ALL)


def _past_the_fence(shop: Shop, *statements: str) -> None:
    trigger = "trigger strangler_fence"
    shop.pair.source(f"alter table book disable {trigger}", *statements)
    shop.pair.source(f"alter table book enable always {trigger}")


def _problem(shop: Shop) -> str | None:
    [found] = printed_json(shop("status", "--json"))
    return cast("str | None", found["forward"]["problem"])


def _a_week_passes(shop: Shop) -> None:
    with psycopg.connect(shop.project.control.database.reveal()) as control:
        control.execute("update strangler.observation set began_at = began_at - interval '7 days'")


def _retired(shop: Shop, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    propose, confirm = typed.of("retire")
    remove, status, _ = typed.of("retire", "What happens")
    [publish] = typed.of("retire", "Drop the monolith's tables")
    assert typed(shop, propose)[0] == 0
    assert typed(shop, confirm)[0] == 1, "the same person"
    monkeypatch.setenv("STRANGLER_WHO", "bob")
    assert typed(shop, confirm)[0] == 0
    assert "retired" in typed(shop, status)[1]
    assert typed(shop, remove)[0] == 0
    assert owners(shop) == ["service"]
    (shop.file.parent / "migrations" / "books" / "mapping.toml").unlink()
    assert typed(shop, publish)[0] == 0


@runs(CLAIMED, *every("kill"))
def test_a_kill_before_a_cutover_and_after_it(shop: Shop, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    [kill] = typed.of("kill")
    [clear] = typed.of("kill", "Before a cutover")
    read_only, room_again = typed.of("kill", "Refuse writes")
    [force] = typed.of("kill", "Go back without what is lacking")
    with in_shadow(shop):
        assert shop.say("set", "books", "--reads", "50%", *WHY)[0] == 0
        assert typed(shop, kill)[0] == 0
        assert (shop.state["share"], shop.state["killed"]) == (0, "wrong prices")
        assert "it is killed (wrong prices)" in shop.say("set", "books", "--reads", "1%", *WHY)[2]
        assert typed(shop, clear)[0] == 0
        assert shop.say("cutover", "books", *WHY)[0] == 0
        for command in (kill, read_only):
            assert "to do that without being asked, say --yes" in typed(shop, command)[2]
        assert "so nothing has to be lost" in typed(shop, force)[2]
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
        monkeypatch.setattr(typer, "confirm", lambda _: True)
        assert typed(shop, read_only)[0] == 0
        assert (shop.state["share"], shop.state["read_only"]) == (10_000, "the service's disk is full")
        assert may(shop, Stack.SERVICE, ADD.format(600, 600)), "who comes past the proxy is not kept out"
        assert typed(shop, room_again)[0] == 0
        assert (shop.state["share"], shop.state.get("read_only")) == (10_000, None)
        assert typed(shop, kill)[0] == 0
        assert (owners(shop), shop.state["killed"]) == (["monolith"], "wrong prices")
        assert shop.pair.source("select id from book where id = 600") == [(600,)]


@runs(CLAIMED, *(each for each in every("alarms-sync") if each not in MOVES))
def test_each_alarm_of_the_streams(shop: Shop, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    [status, run] = typed.of("alarms-sync", "StranglerSyncAway")
    assert shop("start")[0] == 0
    assert "nobody applies" in typed(shop, status)[1]
    assert set(measured(shop, "running")) == {0.0}
    with typed.process(shop, run):
        until(lambda: "nobody applies" not in typed(shop, status)[1], "the streams run", 20)
        _late(shop, typed, monkeypatch)
        _stopped(shop, typed)
        _held(shop, typed, monkeypatch)
        _different(shop, typed)
        _begun_anew(shop, typed)
        _given_up(shop, typed)


def _late(shop: Shop, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    watch, backfill, kill = typed.of("alarms-sync", "StranglerStreamLate")

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(streams, "time", SimpleNamespace(sleep=interrupted))
        said = typed(shop, watch)
    assert (said[0], "copying" in said[1]) == (0, True)
    assert typed(shop, backfill)[0] == 0
    assert shop.stage == "shadow"
    assert typed(shop, kill)[0] == 0


def _stopped(shop: Shop, typed: Typed) -> None:
    status, kill, fences = typed.of("alarms-sync", "StranglerStreamStopped")[:3]
    shop.pair.target("alter table book add constraint short check (length(title) < 20)")
    shop.pair.source("insert into book values (700, 1, 'A title that is too long there')")
    until(lambda: "cannot be applied" in words(typed(shop, status)), "it has stopped", 20)
    assert "public.book (id = 700)" in words(typed(shop, status))
    assert sorted(measured(shop, "stopped")) == [0.0, 1.0]
    assert typed(shop, kill)[0] == 0
    said = typed(shop, fences)
    assert (said[0], "kept out since epoch" in words(said)) == (0, True)
    shop.pair.target("alter table book drop constraint short")
    same(shop, ALL)
    until(lambda: set(measured(shop, "stopped")) == {0.0}, "it says so")


def _held(shop: Shop, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    [status] = typed.of("alarms-sync", "StranglerTransactionKeepsWal")
    [ends] = re.findall(r"`(select pg_terminate_backend\(4711\))`", _section("StranglerTransactionKeepsWal"))
    with monkeypatch.context() as patched, _open_transaction(shop) as pid:
        patched.setattr(holding, "OLD_S", 0.0)
        until(lambda: f"process {pid} " in words(typed(shop, status)), "it is named")
        # The way back's role may not see into that session, and from its next heartbeat on has no number.
        assert max(measured(shop, "held_seconds")) > 0
        shop.pair.source(ends.replace("4711", str(pid)))
        until(lambda: f"process {pid} " not in words(typed(shop, status)), "it has ended")


@contextmanager
def _open_transaction(shop: Shop) -> Iterator[int]:
    """Have a session write and not commit, and yield its process; its end is somebody else's."""
    connection = psycopg.connect(shop.pair.forward.source_url, application_name="night job")
    try:
        connection.execute("update author set name = name where id = 1")
        yield connection.info.backend_pid
    finally:
        connection.close()


def _section(alarm: str) -> str:
    return (HOW_TO / "alarms-sync.md").read_text().partition(f"## {alarm}\n")[2].partition("\n## ")[0]


def _different(shop: Shop, typed: Typed) -> None:
    compare, kill, look, repair = typed.of("alarms-sync", "StranglerSidesDiffer")
    spoil(shop.pair, "update book set title = 'Spoiled' where id = 7")
    said = typed(shop, compare)
    assert (said[0], "id = 7" in said[1], "Spoiled" in said[1]) == (1, True, True)
    assert measured(shop, "verify_equal") == [0.0]
    assert typed(shop, kill)[0] == 0
    assert typed(shop, look)[0] == 1
    assert shop.pair.target("select title from book where id = 7") == [("Spoiled",)]
    assert typed(shop, repair)[0] == 0
    assert typed(shop, compare)[0] == 0
    assert measured(shop, "verify_equal") == [1.0]


def _begun_anew(shop: Shop, typed: Typed) -> None:
    whom = "strangler check"
    assert "mapping of books" in words(typed(shop, whom))  # and that no stack answers here, which is 1
    for command in [each for each in typed.of("alarms-sync") if each not in ("strangler sync run", whom)]:  # it runs
        assert typed(shop, command)[0] == 0, command
    assert (shop.stage, shop.state["killed"]) == ("shadow", None)
    same(shop, ALL)


def _given_up(shop: Shop, typed: Typed) -> None:
    *_, kill, remove = typed.of("alarms-sync", "StranglerSlotKeepsMuch")
    assert typed(shop, kill)[0] == 0
    assert typed(shop, remove)[0] == 0
    slots = "select count(*) from pg_replication_slots where database = current_database()"
    assert (shop.pair.source(slots), shop.pair.target(slots)) == ([(0,)], [(0,)])
    assert shop.stage == "monolith"


@runs(CLAIMED, *MOVES, *every("forced-rollback"))
def test_a_move_that_nobody_ends_and_a_service_whose_database_is_gone(
    shop: Shop, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, resume, loss, run = typed.of("alarms-sync", "StranglerMoveStuck")
    with in_shadow(shop):
        for step, shown in ((Step.FENCE, "(to be the service)"), (Step.SWITCH, "(not open yet)")):
            leave(shop, step)
            assert shown in words(typed(shop, status))
            assert (owners(shop), measured(shop, "moving_seconds")[0] > 0) == ([], True)
            assert typed(shop, resume)[0] == 0
            assert measured(shop, "moving_seconds") == [0.0]
        assert owners(shop) == ["service"]
        assert may(shop, Stack.SERVICE, ADD.format(600, 600))
        same(shop, ALL)
    with _away(shop):
        assert (measured(shop, "begun"), measured(shop, "stopped")) == ([], [1.0, 1.0]), "nobody can look"
        assert typed(shop, loss)[0] == 0
        _forced(shop, typed)
        assert (measured(shop, "moving_seconds"), measured(shop, "unfenced_seconds")[0] > 0) == ([0.0], True)
    _fenced(shop, typed, monkeypatch)
    with typed.running(shop, run):
        *_, start, backfill = typed.of("forced-rollback", "6. Begin anew")
        assert typed(shop, start)[0] == 0
        assert typed(shop, backfill)[0] == 0
        same(shop, ALL)


@contextmanager
def _away(shop: Shop) -> Iterator[None]:
    """Have nobody answer where the service's database is."""
    env = shop.file.parent / "env"
    before = env.read_text()
    env.write_text(re.sub(r"^TARGET=.*$", "TARGET=postgresql://nobody@127.0.0.1:1/gone", before, flags=re.MULTILINE))
    try:
        yield
    finally:
        env.write_text(before)


def _forced(shop: Shop, typed: Typed) -> None:
    read_only, back = typed.of("forced-rollback", "1. Can it wait?")
    [look] = typed.of("forced-rollback", "2. See what would be lost")
    _, status = typed.of("forced-rollback", "3. Keep the service's writers away")
    force, _, resume = typed.of("forced-rollback", "4. Go back")
    assert typed(shop, read_only)[0] == 0
    assert shop.state["share"] == 0, "the monolith answers reads"
    assert typed(shop, back)[0] == 0
    said = typed(shop, look)
    assert (said[0], "writes that the service acknowledged after 2" in words(said)) == (0, True)
    assert (typed(shop, force)[0], owners(shop)) == (0, ["monolith", "service"])
    assert "the service's database is not fenced" in words(typed(shop, resume))
    assert "is not fenced since the forced rollback" in words(typed(shop, status))


def _fenced(shop: Shop, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has come back, and a session of its application is in the way."""
    _, _, resume = typed.of("alarms-sync", "StranglerServiceUnfenced")
    _, history = typed.of("forced-rollback", "5. When it comes back")
    monkeypatch.setattr(forcing, "_SHUT_S", 0.5)
    with psycopg.connect(shop.pair.forward.target_url) as writing:
        writing.execute(ADD.format(601, 601).encode())
        said = typed(shop, resume)
        assert (said[0], f"process {writing.info.backend_pid} " in said[2]) == (1, True)
    assert typed(shop, resume)[0] == 0
    assert owners(shop) == ["monolith"]
    assert measured(shop, "unfenced_seconds") == [0.0]
    [lost] = [each for each in printed_json(typed(shop, history)) if each["command"] == "move-lost"]
    assert lost["evidence"]["lost"]["tables"]["book"]["named"] == [["601"]]


def fail(origin: Origin, served: Served) -> None:
    """Answer each request as an application does that has a defect."""
    while True:
        served.body(served.head())
        served.answer(b"", status="500 Internal Server Error")


@runs(CLAIMED, *every("alarms-proxy"))
def test_each_alarm_of_the_proxy(shop: Shop, typed: Typed) -> None:
    ready, check_files, start, status = typed.of("alarms-proxy", "StranglerProxyAway")
    top = typed.of("alarms-proxy", "StranglerWorkersEnd")[1]
    [check] = typed.of("alarms-proxy", "StranglerLinkLost")
    publish = typed.of("alarms-proxy", "StranglerTablesRefused")[1]
    with Origin() as monolith, Origin(fail, "service") as service, in_shadow(shop):
        port, admin = _before(shop, monolith, service)
        with pytest.raises(httpx.ConnectError):
            typed.fetch(ready, admin)
        assert typed(shop, top)[0] == 1, "no proxy answers"
        assert typed(shop, check_files)[0] == 0
        assert typed(shop, publish)[0] == 0
        with typed.process(shop, start):
            until(lambda: _is_ready(typed, ready, admin), "it serves", 20)
            until(lambda: "routed by all 1 live workers" in words(typed(shop, status)), "it is heard of")
            assert typed(shop, check)[0] == 0
            for page in ("StranglerWorkersEnd", "StranglerEndpointOut"):
                assert found_there(typed, typed.of("alarms-proxy", page)[0], admin)
            _failing(shop, typed, port)
            _slow(shop, typed)
            _held_back(shop, typed, port, admin)
            _cut_over(shop, typed)


def _before(shop: Shop, monolith: Origin, service: Origin) -> tuple[int, int]:
    """Have the project's proxy before two stacks, and return its port and the one of its operators."""
    port, admin = free_port(), free_port()
    listening = f'[proxy]\nlisten = ["127.0.0.1:{port}"]\nadmin = "127.0.0.1:{admin}"\nworkers = 1\n'
    text = shop.file.read_text().replace("[proxy]\n", listening)
    for old, stack in (("http://127.0.0.1:1", monolith), ("http://127.0.0.1:2", service)):
        text = text.replace(f'"{old}"', f'"{stack.url}"')
    shop.file.write_text(text)
    return port, admin


def _is_ready(typed: Typed, ready: str, admin: int) -> bool:
    try:
        return typed.fetch(ready, admin).status_code == 200
    except httpx.ConnectError:
        return False


def found_there(typed: Typed, command: str, admin: int) -> list[str]:
    """Return the lines that ``curl`` gives of an admin port, those with the word that is looked for in them."""
    answer = typed.fetch(command, admin)
    assert answer.status_code == 200
    wanted = command.partition(" | grep ")[2]
    return [line for line in answer.text.splitlines() if wanted in line and not line.startswith("#")]


def errors_shown(said: Said) -> float:
    """Return how many percent of the requests of ``books`` ``top`` shows as errors, in the column of that name."""
    [head] = [line for line in said[1].splitlines() if " errors " in line]
    [row] = [line for line in said[1].splitlines() if line.startswith("books ")]
    return float(row[: head.index("errors") + len("errors")].split()[-1])


def _failing(shop: Shop, typed: Typed, port: int) -> None:
    """A service fails that reads are with, and they are taken back."""
    top, kill, _, _ = typed.of("alarms-proxy", "StranglerStackFails")
    history, clear, some = typed.of("alarms-proxy", "StranglerKilled")
    assert shop.say("set", "books", "--reads", "100%", *WHY)[0] == 0
    with _readers(port) as answered:
        until(lambda: 500 in answered, "readers see it")
        assert errors_shown(typed(shop, top)) > 5, "percent, from which on the alarm rings"
        assert typed(shop, kill)[0] == 0
        since = len(answered) + 1  # but for the one that was under way
        until(lambda: len(answered) > since + 5, "they go on")
        assert set(answered[since:]) == {200}
    assert "the service fails" in words(typed(shop, history))
    for command in (*typed.of("alarms-proxy")[:2], kill, clear, some):
        assert typed(shop, command)[0] == 0, command
    assert shop.state["share"] == 100


@contextmanager
def _readers(port: int) -> Iterator[list[int]]:
    """Have somebody read without a pause, and yield the statuses that they see."""
    over, answered = threading.Event(), list[int]()

    def read() -> None:
        while not over.is_set():
            with Client(port) as client:
                answered.append(client.get("/books").status)

    with ThreadPoolExecutor(1) as hand:
        reading = hand.submit(read)
        try:
            yield answered
        finally:
            over.set()
        reading.result()


def _slow(shop: Shop, typed: Typed) -> None:
    """What takes readers away, in whatever words."""
    [_, none] = typed.of("alarms-proxy", "StranglerServiceSlower")
    assert typed(shop, none)[0] == 0
    kills = [*typed.of("alarms-proxy", "StranglerRefuses"), *typed.of("alarms-proxy", "StranglerIdentityFails")]
    for command in [each for each in kills if " kill " in each]:
        assert typed(shop, command)[0] == 0, command
    assert shop.say("kill", "books", "--clear", *WHY)[0] == 0


def _held_back(shop: Shop, typed: Typed, port: int, admin: int) -> None:
    """A move that nobody ends holds writes back."""
    status, resume, top = typed.of("alarms-proxy", "StranglerHolds")
    [metrics] = typed.of("alarms-proxy", "StranglerEndpointOut")
    leave(shop, Step.FENCE)
    with ThreadPoolExecutor(1) as hand, Client(port) as client:
        writing = hand.submit(client.post, "/books", b"a book")
        until(lambda: 'strangler_proxy_held{capability="books"} 1.0' in typed.fetch(metrics, admin).text, "it is held")
        assert typed(shop, top)[0] == 0
        assert "(to be the service)" in words(typed(shop, status))
        assert typed(shop, resume)[0] == 0
        assert writing.result().body == b"monolith"


def _cut_over(shop: Shop, typed: Typed) -> None:
    *_, rollback = typed.of("alarms-proxy", "StranglerStackFails")
    assert shop.say("cutover", "books", *WHY)[0] == 0
    assert typed(shop, rollback)[0] == 0
    assert owners(shop) == ["monolith"]
