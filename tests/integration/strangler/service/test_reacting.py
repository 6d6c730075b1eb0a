"""Reactions of a service that is no Django, on a real PostgreSQL: in order, once, and none in another's way."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final

import httpx
import psycopg
import pytest
from starlette.types import ASGIApp, Message, Scope

from strangler.local import Postgres
from strangler.service.database import Connection, Database
from strangler.service.reacting import Change, Reaction, Runner
from tests.fixtures.fenced import Bed, make_bed
from tests.fixtures.postgres import kill, making, revive, running
from tests.fixtures.waiting import until
from tests.integration.strangler_django.test_react import react
from tests.unit.docs.test_chassis_reference import run as example

WAITING: Final = "select id from strangler_sync.reaction order by id"
DONE: Final = "select id from other order by id"
TROUBLE: Final = "select reaction, change, tries from strangler_sync.reaction_trouble"
COUNTED: Final = 'strangler_service_reactions_total{outcome="done",reaction="product"} 2.0'
LOCK: Final = 7
# A service that reacts while it serves; its reaction waits for a lock after it has written.
SERVICE: Final = """
import sys
from contextlib import asynccontextmanager
from starlette.applications import Starlette
from strangler.service import Chassis
from strangler.service.database import Database
from strangler.service.reacting import Runner
from strangler.service.serve import Listen, serve

async def put(connection, change):
    await connection.execute("insert into other values (%s, 'served')", [change.id])
    await connection.execute("select pg_advisory_xact_lock(7)")

database = Database(sys.argv[1], application="served", wait_seconds=30, statement_seconds=60)
runner = Runner(database, {"shelf": put})

@asynccontextmanager
async def lifespan(app):
    await database.open()
    async with runner.running():
        yield
    await database.close()

chassis = Chassis(Starlette(lifespan=lifespan), name="served", openapi={}, instruments=[runner.counted])
serve(chassis, Listen.parse("127.0.0.1:0"))
"""


@asynccontextmanager
async def opened(bed: Bed) -> AsyncIterator[Database]:
    database = Database(bed.application_url, application="reactions", wait_seconds=30)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def alive(app: ASGIApp) -> AsyncIterator[None]:
    """Start an application and end it, as a server does."""
    told, heard = asyncio.Queue[Message](), asyncio.Queue[Message]()
    scope: Scope = {"type": "lifespan", "asgi": {"version": "3.0"}}
    life = asyncio.ensure_future(app(scope, told.get, heard.put))
    for name in ("startup", "shutdown"):
        await told.put({"type": f"lifespan.{name}"})
        assert (await heard.get())["type"] == f"lifespan.{name}.complete"
        if name == "startup":
            yield
    await life


@contextmanager
def served(bed: Bed) -> Iterator[subprocess.Popen[bytes]]:
    """The service above, at its first change and waiting for the lock."""
    waits = f"select 1 from pg_locks where locktype = 'advisory' and objid = {LOCK} and not granted"
    with subprocess.Popen([sys.executable, "-c", SERVICE, bed.application_url], stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: bed.superuser(waits), "the reaction is under way", 60)
            yield process
        finally:
            process.kill()


@contextmanager
def locked(bed: Bed) -> Iterator[psycopg.Connection]:
    """Hold what the reaction of that service waits for."""
    with psycopg.connect(bed.superuser_url, autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(%s)", [LOCK])
        yield connection


ORPHANS = (
    "create table parent (id integer primary key)",
    "create table orphan (parent integer references parent deferrable initially deferred)",
    "grant insert on orphan to public",
)


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Shelf:
    """A reaction that writes once what it is called with, and remembers the order."""

    seen: list[int] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def put(self, connection: Connection, change: Change) -> None:
        await connection.execute("insert into other values (%s, %s)", [change.id, change.token])
        self.seen.append(change.id)

    async def put_and_wait(self, connection: Connection, change: Change) -> None:
        await self.put(connection, change)
        self.begun.set()
        await self.go.wait()
        await connection.execute("select 1")


def ids(bed: Bed, query: str) -> list[int]:
    return [number for (number,) in bed.superuser(query)]


async def emptied(bed: Bed, seconds: float = 30) -> None:
    await asyncio.to_thread(until, lambda: ids(bed, WAITING) == [], "nothing waits any more", seconds)


async def drained(bed: Bed, **reactions: Reaction) -> int:
    """React to all that waits; return how many changes that were."""
    async with opened(bed) as database:
        runner = Runner(database, reactions)
        done = 0
        while (more := await runner.turn()) > 0:
            done += more
        return done


def counts(runner: Runner) -> dict[tuple[str, str], float]:
    [family] = runner.counted.collect()
    return {
        (each.labels["reaction"], each.labels["outcome"]): each.value
        for each in family.samples
        if each.name == "strangler_service_reactions_total"
    }


async def raises(connection: Connection) -> None:
    raise ValueError("no shelf")


async def is_refused(connection: Connection) -> None:
    await connection.execute("update book set title = 'fenced'")


async def awaits_what_is_cancelled(connection: Connection) -> None:
    task = asyncio.create_task(asyncio.Event().wait())
    asyncio.get_running_loop().call_soon(task.cancel)
    await task


async def overlooks_an_error(connection: Connection) -> None:
    try:
        await connection.execute("insert into nowhere values (1)")
    except psycopg.Error:
        return


async def takes_too_long(connection: Connection) -> None:
    await connection.execute("set local statement_timeout = 50")
    await connection.execute("select pg_sleep(60)")


async def breaks_what_is_looked_at_last(connection: Connection) -> None:
    await connection.execute("insert into orphan values (1)")


async def rolls_back(connection: Connection) -> None:
    raise psycopg.Rollback


async def ends_the_transaction(connection: Connection) -> None:
    await connection.commit()


@pytest.mark.parametrize(
    ("fail", "told"),
    [
        (raises, "ValueError: no shelf"),
        (is_refused, 'DatabaseError: capability "shop-books" is fenced here'),
        (awaits_what_is_cancelled, "CancelledError: "),
        (overlooks_an_error, "InFailedSqlTransaction: "),
        (takes_too_long, "QueryCanceled: "),
        (ends_the_transaction, "ProgrammingError: "),
        (breaks_what_is_looked_at_last, "ForeignKeyViolation: "),
        (rolls_back, "ReactionRolledBack: "),
    ],
)
def test_changes_come_in_order_and_one_that_fails_holds_up_no_other_reaction(
    queue: Bed, fail: Callable[[Connection], Awaitable[None]], told: str
) -> None:
    queue.up()
    queue.superuser(*ORPHANS)
    shelf = [("shelf", {}), ("shelf", {}), ("shelf", {"fails": True}), ("shelf", {})]
    *numbers, other = queue.note(*shelf, ("other", {}))
    wrong = numbers[2]
    failing = True
    clock = Clock()

    async def put(connection: Connection, change: Change) -> None:
        assert change.new is not None
        await Shelf().put(connection, change)
        if failing and change.new.get("fails"):
            await fail(connection)

    async def scenario() -> None:
        nonlocal failing
        async with opened(queue) as database:
            runner = Runner(database, {"shelf": put, "other": put}, clock=clock)
            assert await runner.turn() == 3
            assert ids(queue, DONE) == [*numbers[:2], other]
            assert queue.superuser(TROUBLE) == [("shelf", wrong, 1)]
            clock.now += 0.49
            assert await runner.turn() == 0
            assert queue.superuser(TROUBLE) == [("shelf", wrong, 1)]
            clock.now += 0.02
            assert await runner.turn() == 0
            assert queue.superuser(TROUBLE) == [("shelf", wrong, 2)]
            [(error,)] = queue.superuser("select error from strangler_sync.reaction_trouble")
            assert error.startswith(told)
            failing = False
            clock.now += 0.9
            assert await runner.turn() == 0
            clock.now += 0.2
            assert await runner.turn() == 2
        assert counts(runner) == {
            ("shelf", "done"): 4, ("shelf", "failed"): 2, ("other", "done"): 1, ("other", "failed"): 0,
        }  # fmt: skip

    asyncio.run(scenario())
    assert (ids(queue, DONE), queue.superuser(TROUBLE)) == ([*numbers, other], [])


def test_a_change_is_told_as_it_was_noted(queue: Bed) -> None:
    [number] = queue.note(("shelf", {"price": 1.25, "at": None}))
    seen: list[Change] = []

    async def look(connection: Connection, change: Change) -> None:
        seen.append(change)

    assert asyncio.run(drained(queue, shelf=look)) == 1
    [change] = seen
    assert (change.id, change.capability, change.table, change.op) == (number, "shop-books", "book", "insert")
    assert (change.key, change.old, repr(change.new)) == ({"id": 1}, None, "{'at': None, 'price': Decimal('1.25')}")


def test_a_process_that_is_killed_between_effect_and_commit_has_done_nothing_twice(queue: Bed) -> None:
    numbers = queue.note(*[("shelf", {})] * 3)
    with locked(queue), served(queue) as process:
        process.send_signal(signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL
        assert (ids(queue, DONE), ids(queue, WAITING)) == ([], numbers)
    shelf = Shelf()

    async def scenario() -> None:
        async with opened(queue) as database, Runner(database, {"shelf": shelf.put}).running():
            await emptied(queue)

    asyncio.run(scenario())
    assert (shelf.seen, ids(queue, DONE)) == (numbers, numbers)
    assert queue.superuser(TROUBLE) == []


def test_a_service_that_is_asked_to_stop_ends_what_it_is_at(queue: Bed) -> None:
    numbers = queue.note(*[("shelf", {})] * 3)
    with locked(queue) as connection, served(queue) as process:
        process.send_signal(signal.SIGTERM)
        connection.execute("select pg_advisory_unlock(%s)", [LOCK])
        assert process.wait(20) == 0
    done, left = ids(queue, DONE), ids(queue, WAITING)
    assert done[0] == numbers[0]
    assert (done + left, queue.superuser(TROUBLE)) == (numbers, [])


def test_nothing_is_begun_any_more_once_it_is_to_stop(queue: Bed) -> None:
    numbers = queue.note(*[("shelf", {})] * 3)

    async def scenario() -> None:
        shelf = Shelf()
        async with opened(queue) as database, Runner(database, {"shelf": shelf.put_and_wait}).running():
            await shelf.begun.wait()
            asyncio.get_running_loop().call_soon(shelf.go.set)  # once the block has ended

    asyncio.run(scenario())
    assert (ids(queue, DONE), ids(queue, WAITING)) == (numbers[:1], numbers[1:])


def test_a_reaction_that_does_not_end_is_ended_and_leaves_nothing(queue: Bed, caplog: pytest.LogCaptureFixture) -> None:
    numbers = queue.note(*[("shelf", {})] * 3)

    async def scenario() -> None:
        shelf = Shelf()
        reactions = {"shelf": shelf.put_and_wait}
        async with opened(queue) as database, Runner(database, reactions, finish_seconds=0.1).running():
            await shelf.begun.wait()

    asyncio.run(scenario())
    assert "a reaction did not end within 0.1 s: it will be called again" in caplog.text
    assert (ids(queue, DONE), ids(queue, WAITING), queue.superuser(TROUBLE)) == ([], numbers, [])
    assert asyncio.run(drained(queue, shelf=Shelf().put)) == 3


def test_two_runners_share_and_what_one_is_at_the_other_leaves_alone(queue: Bed) -> None:
    first, *others = queue.note(("shelf", {}), *[("other", {})] * 3)

    async def scenario() -> None:
        shelf = Shelf()
        async with opened(queue) as database, Runner(database, {"shelf": shelf.put_and_wait}).running():
            await shelf.begun.wait()
            reactions = {"shelf": Shelf().put, "other": Shelf().put}
            assert await Runner(database, reactions).turn() == 3
            assert ids(queue, DONE) == others
            shelf.go.set()
            await emptied(queue)

    asyncio.run(scenario())
    assert ids(queue, DONE) == [first, *others]


def test_many_changes_are_each_taken_by_one_of_two_runners_and_in_order(queue: Bed) -> None:
    numbers = queue.note(*[("shelf", {}), ("other", {})] * 250)
    shelf, other = Shelf(), Shelf()

    async def scenario() -> None:
        reactions = {"shelf": shelf.put, "other": other.put}
        async with (
            opened(queue) as one,
            opened(queue) as two,
            Runner(one, reactions).running(),
            Runner(two, reactions).running(),
        ):
            await emptied(queue)

    asyncio.run(scenario())
    assert (shelf.seen, other.seen) == (numbers[::2], numbers[1::2])
    assert (ids(queue, DONE), queue.superuser(TROUBLE)) == (numbers, [])


def test_a_queue_that_is_not_there_is_waited_for_and_so_is_the_right_to_it(
    bare_bed: Bed, caplog: pytest.LogCaptureFixture
) -> None:
    shelf = Shelf()

    async def scenario() -> None:
        async with opened(bare_bed) as database:
            runner = Runner(database, {"shelf": shelf.put})
            assert await runner.turn() == 0
            await asyncio.to_thread(bare_bed.begin)
            async with runner.running():
                await asyncio.to_thread(until, lambda: "no reactions: permission denied" in caplog.text, "it is told")
                await asyncio.to_thread(bare_bed.let_react)
                numbers = await asyncio.to_thread(bare_bed.note, ("shelf", {}))
                await emptied(bare_bed)
                assert shelf.seen == numbers

    asyncio.run(scenario())


def test_what_the_reference_shows_reacts_while_it_serves(queue: Bed) -> None:
    queue.owner("create table similar_product (product_id bigint)", "grant all on similar_product to public")
    queue.owner("insert into similar_product values (1), (2), (3)")
    queue.note(("product", {}), ("product", {}))
    database = Database(queue.application_url, application="likes", wait_seconds=30)
    chassis = example("reacting.py")["build"](database)

    async def scenario() -> str:
        async with alive(chassis):
            await emptied(queue)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(chassis), base_url="http://likes") as client:
            return (await client.get("/metrics")).text

    assert COUNTED in asyncio.run(scenario())
    assert queue.owner("select product_id from similar_product") == [(3,)]


def test_what_nobody_reacts_to_is_told(queue: Bed, caplog: pytest.LogCaptureFixture) -> None:
    queue.note(("forgotten", {}), ("forgotten", {}))
    assert asyncio.run(drained(queue, shelf=Shelf().put)) == 0
    assert "2 changes wait for the reaction forgotten, which this service does not have" in caplog.text


def test_a_database_that_dies_under_a_reaction_is_waited_for() -> None:
    async def scenario(server: Postgres, bed: Bed) -> list[int]:
        shelf = Shelf()
        async with opened(bed) as database, Runner(database, {"shelf": shelf.put_and_wait}).running():
            await shelf.begun.wait()
            kill(server)
            shelf.go.set()
            assert await database.check() is not None
            revive(server)  # by this thread, with whose end it ends
            await emptied(bed, 60)
        return shelf.seen

    with running(Postgres) as server, making(server) as make, make_bed(server, make) as bed:
        bed.begin()
        bed.let_react()
        numbers = bed.note(*[("shelf", {})] * 3)
        seen = asyncio.run(scenario(server, bed))
        assert seen == [numbers[0], *numbers]  # the first was called again, since nothing of it had stayed
        assert (ids(bed, DONE), bed.superuser(TROUBLE)) == (numbers, [])


def test_a_django_takes_from_the_same_queue(queue: Bed) -> None:
    numbers = queue.note(*[("shelf", {})] * 3)

    async def stopped_at_the_first() -> tuple[int, str]:
        shelf = Shelf()
        async with opened(queue) as database, Runner(database, {"shelf": shelf.put_and_wait}).running():
            await shelf.begun.wait()
            told = await asyncio.to_thread(react, queue, "--once")
            asyncio.get_running_loop().call_soon(shelf.go.set)
        return told

    status, told = asyncio.run(stopped_at_the_first())
    assert (status, told.startswith("0 done, 3 left\n")) == (1, True), told  # it leaves alone what we are at
    assert react(queue, "--once") == (0, "2 done, 0 left\n")
    assert ids(queue, DONE) == numbers

    [wrong] = queue.note(("shelf", {"fails": True}))
    assert react(queue, "--once")[0] == 1
    assert queue.superuser(TROUBLE) == [("shelf", wrong, 1)]

    async def fail(connection: Connection, change: Change) -> None:
        raise ValueError("no shelf")

    assert asyncio.run(drained(queue, shelf=fail)) == 0
    assert queue.superuser(TROUBLE) == [("shelf", wrong, 2)]  # each goes on counting where the other was
    assert asyncio.run(drained(queue, shelf=Shelf().put)) == 1
    assert (ids(queue, WAITING), queue.superuser(TROUBLE)) == ([], [])
