"""Code that must run after rows have changed which the sync brought here, in a service that is no Django.

What changed stands in a queue in the service's own database, noted by the sync in the transaction that applied it. A
reaction is called with one change after another, in order, on the connection whose transaction takes them off the
queue: what it writes there is written exactly once. What it does elsewhere (a request, a mail) may be done again if
this process dies between that and its commit: ``Change.token`` is the same each time.

One that raises is tried again, later and later, and keeps nobody else's changes waiting. A service has it run while it
serves::

    runner = Runner(database, {"product": forget})

    @asynccontextmanager
    async def lifespan(app):
        await database.open()
        async with runner.running():
            yield
        await database.close()

The queue is a contract with ``strangler.sync.reacting``. ``strangler_django.reactions`` says the same statements again,
since it stands on nothing of the toolkit's; a test holds the two together.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, LiteralString

import psycopg
from prometheus_client import Counter

from strangler.service.database import Connection, Database
from strangler.service.errors import Unavailable

logger = logging.getLogger(__name__)

AT_ONCE: Final = 100
"""So many changes are taken off in one transaction at most."""
AT_ONCE_S: Final = 1.0
"""And no more are begun after so many seconds: a transaction that is open for long holds up who cleans tables."""
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 60.0
_LOOK_S: Final = 0.2
_AWAY_S: Final = 3.0
_TOLD: Final = 300  # characters of an error that are kept

# Told by the catalogue alone: an error would end a transaction.
_THERE: Final = """
select count(*) from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'strangler_sync' and c.relname = 'reaction_trouble'
"""
_WAITING: Final = """
select name from unnest(%s::text[]) as name where exists (select from strangler_sync.reaction where reaction = name)
"""
_UNHEARD: Final = """
select reaction, count(*) from strangler_sync.reaction where not reaction = any(%s::text[]) group by reaction
"""
_ALONE: Final = "select pg_try_advisory_xact_lock(hashtext('strangler_react'), hashtext(%s))"
_NEXT: Final = """
select id, capability, reaction, "table", op, key::text, old::text, new::text
from strangler_sync.reaction where reaction = %s order by id limit %s
"""
_DONE: Final = "delete from strangler_sync.reaction where id = %s"
_FAILED: Final = """
insert into strangler_sync.reaction_trouble as t (reaction, change, tries, error)
values (%(name)s, %(id)s, 1, %(error)s)
on conflict (reaction) do update set
  tries = case when t.change = excluded.change then t.tries + 1 else 1 end,
  since = case when t.change = excluded.change then t.since else excluded.since end,
  change = excluded.change, error = excluded.error, at = excluded.at
returning tries
"""
_MENDED: Final = "delete from strangler_sync.reaction_trouble where reaction = %s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of a row that the sync applied.

    ``op`` is ``insert``, ``update`` or ``delete``; a row that gets another key is a delete and an insert. ``old`` and
    ``new`` are the columns that the mapping tells, None where there was no row, or is none any more; as JSON has them:
    numbers with a fraction are ``Decimal``, moments and UUIDs are text.
    """

    id: int
    capability: str
    reaction: str
    table: str
    op: str
    key: Mapping[str, Any]
    old: Mapping[str, Any] | None
    new: Mapping[str, Any] | None

    @property
    def token(self) -> str:
        """What is the same each time that this change is reacted to, and different for every other."""
        return f"{self.reaction}-{self.id}"


class ReactionRolledBack(Exception):
    """A reaction raised ``psycopg.Rollback``, which ends a transaction without an error."""


Reaction = Callable[[Connection, Change], Awaitable[None]]
"""Reacts to one change; what it writes on the connection is committed together with the change being done."""


class Runner:
    """Calls ``reactions``, by the names that the mapping gives them, with what waits for each, in its own order.

    It takes one connection of the ``database``'s pool while it is at something. Several processes may do so: what one
    is at, another leaves alone. A reaction that is under way when the service stops gets ``finish_seconds`` to end.
    ``counted`` tells what was done, and goes into ``Chassis(..., instruments=[runner.counted])``.
    """

    def __init__(
        self,
        database: Database,
        reactions: Mapping[str, Reaction],
        *,
        finish_seconds: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._reactions, self._clock = database, dict(reactions), clock
        self._finish_seconds = finish_seconds
        self._over = asyncio.Event()
        self._not_before: dict[str, float] = {}
        self._look_at = clock()  # for what nobody reacts to
        self.counted = _counter(self._reactions)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """React beside what the block does, until it ends; no change is begun then, and the one under way is ended."""
        task = asyncio.create_task(self._keep(), name="reactions")
        try:
            yield
        finally:
            self._over.set()
            try:
                async with asyncio.timeout(self._finish_seconds):
                    await task
            except TimeoutError:
                logger.warning("a reaction did not end within %g s: it will be called again", self._finish_seconds)
            finally:
                self._over.clear()

    async def turn(self) -> int:
        """Call each reaction that may go on with some of what waits for it; return how many changes were done.

        None are where there is no queue: the sync makes it when the first stream begins. Raises ``Unavailable``.
        """
        async with self._database.connection() as connection:
            if await _value(connection, _THERE) == 0:
                return 0
            await self._tell_unheard(connection)
            done = 0
            for name in await self._waiting(connection):
                done += await self._some(connection, name)
            return done

    async def _keep(self) -> None:
        while not self._over.is_set():
            pause_s = await self._look()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._over.wait()

    async def _look(self) -> float:
        """Do some of what waits; return for how many seconds there is nothing to do."""
        try:
            return 0.0 if await self.turn() else _LOOK_S
        except (Unavailable, psycopg.Error) as error:  # the latter where a right is lacking, or the queue is taken away
            logger.warning("no reactions: %s", error)
        except Exception as error:  # the named top of a turn: requests are answered whatever becomes of it
            logger.error("no reactions for %g s", _AWAY_S, exc_info=error)
        return _AWAY_S

    async def _waiting(self, connection: Connection) -> list[str]:
        due = [name for name in self._reactions if self._clock() >= self._not_before.get(name, 0.0)]
        found = await (await connection.execute(_WAITING, [due])).fetchall()
        return [str(name) for (name,) in found]

    async def _some(self, connection: Connection, name: str) -> int:
        """React to the first changes that wait, until one fails; what was done before that one is done."""
        until = self._clock() + AT_ONCE_S
        done, tries = 0, 0
        async with connection.transaction():
            if not await _value(connection, _ALONE, [name]):
                return 0
            for change in await _next(connection, name):
                if self._over.is_set():
                    break
                failed = await self._react(connection, change)
                if failed is not None:
                    tries = await _note(connection, change, failed)
                    break
                done += 1
                if self._clock() >= until:
                    break
            if done and not tries:
                await connection.execute(_MENDED, [name])
        self._settle(name, done, tries)
        return done

    async def _react(self, connection: Connection, change: Change) -> BaseException | None:
        """React to one change and take it off; return what it raised, of which nothing stays in this database."""
        taken_off = False
        try:
            async with connection.transaction():
                await self._reactions[change.reaction](connection, change)
                # What waits for the end of the transaction would else be found there, and be nobody's.
                await connection.execute("set constraints all immediate; set constraints all deferred")
                await connection.execute(_DONE, [change.id])
                taken_off = True
        except (Exception, asyncio.CancelledError) as error:  # whatever it raises: it is noted, told, and tried again
            if _is_cancelled():  # from outside, not by something that was awaited
                raise
            if connection.closed:
                raise Unavailable(f"the database does not answer: {error}") from error
            return error
        return None if taken_off else ReactionRolledBack("it rolled back what it did, and so the change waits")

    def _settle(self, name: str, done: int, tries: int) -> None:
        """Remember and count what has been committed."""
        self.counted.labels(name, "done").inc(done)
        self._not_before.pop(name, None)
        if tries:
            self.counted.labels(name, "failed").inc()
            self._not_before[name] = self._clock() + pause(tries)

    async def _tell_unheard(self, connection: Connection) -> None:
        if self._clock() < self._look_at:
            return
        self._look_at = self._clock() + LONGEST_PAUSE_S
        for name, number in await (await connection.execute(_UNHEARD, [list(self._reactions)])).fetchall():
            logger.warning("%s changes wait for the reaction %s, which this service does not have", number, name)


def pause(tries: int) -> float:
    """Return for how many seconds a reaction rests that has failed so often at one change."""
    return float(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(tries - 1, 20)))


def _counter(names: Mapping[str, Reaction]) -> Counter:
    counted = Counter(
        "strangler_service_reactions",
        "Changes that a reaction was called with",
        ["reaction", "outcome"],
        registry=None,
    )
    for name in names:
        for outcome in ("done", "failed"):
            counted.labels(name, outcome)  # there from the start, so that the first one shows as a rise
    return counted


async def _note(connection: Connection, change: Change, error: BaseException) -> int:
    told = _line(error)
    tries = int(await _value(connection, _FAILED, {"name": change.reaction, "id": change.id, "error": told}))
    logger.warning(
        "reaction %s failed at change %s of %s (try %s, the next in %s s): %s",
        change.reaction,
        change.id,
        change.table or "what was left for later",
        tries,
        pause(tries),
        told,
        exc_info=error if tries == 1 else None,
    )
    return tries


async def _next(connection: Connection, name: str) -> list[Change]:
    return [_change(row) for row in await (await connection.execute(_NEXT, [name, AT_ONCE])).fetchall()]


async def _value(connection: Connection, query: LiteralString, asked: Sequence[Any] | Mapping[str, Any] = ()) -> Any:
    row = await (await connection.execute(query, asked)).fetchone()
    return None if row is None else row[0]


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _line(error: BaseException) -> str:
    first = (str(error).strip().splitlines() or [""])[0]
    # What a database cannot keep (a NUL, half of a surrogate pair) must not keep the rest from being noted.
    return f"{type(error).__name__}: {first}"[:_TOLD].replace("\0", "").encode("utf-8", "replace").decode()


def _change(row: Sequence[Any]) -> Change:
    number, capability, reaction, table, op, *told = row
    key, old, new = (None if each is None else json.loads(each, parse_float=Decimal) for each in told)
    return Change(
        id=number, capability=capability, reaction=reaction, table=table, op=op, key=key or {}, old=old, new=new
    )
