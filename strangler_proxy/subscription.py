"""How a worker hears of routing tables: pushed through Valkey, looked for in Postgres, kept on disk.

Each way is enough alone. Valkey carries a push within milliseconds; Postgres is asked once a second, which repairs a
lost push and carries on when Valkey is gone; the copy on disk starts a worker when both are. A worker says which
version it routes by through whichever way is open, after it has swapped and not before.

A table is taken when its seal is good and its version newer. One exception is the start: then the newest that a
reachable source has counts, and the disk only where Postgres cannot be asked, because a ledger that was set up anew
begins to count again.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast

import psycopg
import redis.asyncio
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from strangler.routing.causal import WATERMARKS, WatermarksInvalid, unseal_watermarks
from strangler.routing.table import RoutingTable, TableInvalid, unseal
from strangler_proxy.settings import Links
from strangler_proxy.switchboard import Switchboard

_LOG: Final = logging.getLogger("strangler_proxy")

TABLE: Final = "strangler:table"
TABLES: Final = "strangler:tables"
_WATERMARKS: Final = WATERMARKS.encode()
WORKERS: Final = "strangler:workers"
ACKS: Final = "strangler:acks"

# Three missed beats and a worker is not waited for (the ledger's LIVE_S).
_BEAT: Final = 1.0
# An engine that answers no sooner is treated as gone: its connection is dropped and made anew.
_PATIENCE: Final = 2.0
_AGAIN: Final = 0.5
# While writes of a held capability are under way, whoever moves it waits for the last of them, and so do all others.
_LOOK: Final = 0.02

# The time is Valkey's own, so that workers on several machines need no common clock.
_SAY: Final = """
local now = redis.call('TIME')
local word = {version = tonumber(ARGV[2]), seen_at = now[1] + now[2] / 1000000, about = ARGV[3]}
local ack = {worker = ARGV[1], version = tonumber(ARGV[2])}
if ARGV[5] ~= '' then
  word.held = cjson.decode(ARGV[5])
  ack.held = word.held
end
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(word))
if ARGV[4] ~= '' then
  redis.call('PUBLISH', ARGV[4], cjson.encode(ack))
end
"""

_BEAT_SQL: Final = """
with beat as (
  insert into strangler.worker (id, version, seen_at, about) values (%(id)s, %(version)s, clock_timestamp(), %(about)s)
  on conflict (id) do update
  set version = excluded.version, seen_at = excluded.seen_at, about = excluded.about
)
select sealed from strangler.routing_table where version > %(version)s order by version desc limit 1
"""

# Apart from the beat, since a ledger that asks for no hold may not have the column yet.
_HELD_SQL: Final = "update strangler.worker set held = %(held)s::jsonb where id = %(id)s"


Words = Mapping[str, Mapping[str, int]]
"""What is told of holds, by capability: ``id``, ``in_flight`` and ``parked``."""


def _counted(words: Words) -> dict[str, tuple[int, int]]:
    return {name: (word["id"], word["in_flight"]) for name, word in words.items()}


class Subscription:
    """Keeps a worker's routing table the newest. ``source`` tells where the one in force came from."""

    def __init__(self, board: Switchboard, worker: str, links: Links) -> None:
        self.source = "bootstrap"
        self.since = time.time()
        self.valkey_up: bool | None = None
        self.postgres_up: bool | None = None
        self._board = board
        self._worker = worker
        self._links = links
        keys = links.keys()
        self._keys = keys.believed if keys is not None else ()
        self._seals = tuple(each.table for each in self._keys)
        self._about = f"{os.uname().nodename} {os.getpid()}"
        self._file = Path(links.state) / "table" if links.state else None
        self._refused = b""
        self._complained = False
        self._tasks: list[asyncio.Task[None]] = []
        self._writing: set[asyncio.Task[None]] = set()
        self._heard = asyncio.Event()  # every source has answered or failed once
        self._valkey_knows = False
        # What was last acknowledged of holds.
        self._said_to_valkey: Words = {}
        self._said_to_postgres: Words | None = None

    def __repr__(self) -> str:
        return f"<Subscription version={self._board.table.version} from {self.source}>"

    async def start(self, patience: float) -> None:
        """Begin to listen; return when every source has been asked once, or after ``patience`` seconds."""
        follow = [(self._links.redis, self._follow_valkey), (self._links.database, self._follow_postgres)]
        firsts = []
        for url, way in follow:
            if url:
                first = asyncio.get_running_loop().create_future()
                firsts.append(first)
                self._tasks.append(asyncio.create_task(self._follow(way, first)))
        if firsts:
            await asyncio.wait(firsts, timeout=patience)
        if not self.postgres_up:
            self._take_from_disk()

    async def _follow(
        self, way: Callable[[asyncio.Future[None]], Awaitable[None]], first: asyncio.Future[None]
    ) -> None:
        """Follow a source for ever: what nobody has foreseen is said, and does not end it in silence."""
        while True:
            try:
                await way(first)
            except Exception:
                _LOG.exception("a source of routing tables is followed anew")
                _done(first)
                await asyncio.sleep(_AGAIN)

    async def stop(self) -> None:
        """Stop listening, and take the worker's name out, so that nobody waits for it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._writing, return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await asyncio.gather(self._leave_valkey(), self._leave_postgres(), return_exceptions=True)

    # --- tables ---

    def _take(self, sealed: bytes, source: str) -> bool:
        """Route by a published table if it is good and newer, and return whether it was."""
        try:
            table = unseal(sealed, *self._seals)
        except TableInvalid as exc:
            if sealed != self._refused:  # Postgres offers it again every second
                self._refused = sealed
                self._board.tally.refused_tables += 1
                _LOG.error("a routing table from %s was refused, version %d stays: %s", source, self._version, exc)
            return False
        if not self._board.adopt(table):
            return False
        self._note(table, source)
        if source != "disk" and self._file is not None:
            task = asyncio.create_task(self._keep(sealed))
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)
        return True

    def _note(self, table: RoutingTable, source: str) -> None:
        self.source = source
        self.since = time.time()
        _LOG.info("routing by version %d from %s", table.version, source)

    @property
    def _version(self) -> int:
        return self._board.table.version

    async def _keep(self, sealed: bytes) -> None:
        try:
            await asyncio.to_thread(self._write, sealed)
        except OSError as exc:
            _LOG.error("the routing table could not be kept on disk: %s", exc)

    def _write(self, sealed: bytes) -> None:
        """Put a table on disk, unless one that was published later is there.

        The workers of a proxy share the file, and each writes in threads: they take turns by a lock on the folder.
        Which is later is told by the ledger's clock and not by the version, since a ledger may begin to count again.
        """
        assert self._file is not None  # noqa: S101 -- _take has looked
        self._file.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(self._file.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            if self._is_later(sealed):
                fresh = self._file.with_name("table.new")
                with fresh.open("wb") as file:
                    file.write(sealed)
                    file.flush()
                    os.fsync(file.fileno())
                fresh.replace(self._file)
        finally:
            os.close(folder)

    def _is_later(self, sealed: bytes) -> bool:
        assert self._file is not None  # noqa: S101 -- _write has looked
        try:
            kept = unseal(self._file.read_bytes(), *self._seals).published_at
        except (FileNotFoundError, TableInvalid):
            return True
        ours = unseal(sealed, *self._seals).published_at
        return kept is None or (ours is not None and ours > kept)

    def _take_from_disk(self) -> None:
        if self._file is None:
            return
        try:
            sealed = self._file.read_bytes()
        except FileNotFoundError:
            return
        except OSError as exc:
            _LOG.error("the routing table on disk cannot be read: %s", exc)
            return
        self._take(sealed, "disk")

    # --- Valkey ---

    def _valkey(self) -> redis.asyncio.Redis:
        return redis.asyncio.Redis.from_url(
            self._links.redis,
            socket_connect_timeout=_PATIENCE,
            socket_timeout=_PATIENCE,
            retry=Retry(NoBackoff(), 0),
        )

    async def _follow_valkey(self, first: asyncio.Future[None]) -> None:
        while True:
            client = self._valkey()
            try:
                self._said_to_valkey = {}
                await self._listen_valkey(client, first)
            except (RedisError, OSError, TimeoutError) as exc:
                self._lost("Valkey", self.valkey_up, exc)
                self.valkey_up = False
            finally:
                _done(first)
                with suppress(RedisError, OSError):
                    await client.aclose()
            await asyncio.sleep(_AGAIN)

    async def _listen_valkey(self, client: redis.asyncio.Redis, first: asyncio.Future[None]) -> None:
        async with client.pubsub(ignore_subscribe_messages=True) as tables:
            await tables.subscribe(TABLES, WATERMARKS)
            sealed = await client.get(TABLE)
            # One that was emptied answers, and knows nothing of what was published.
            self._valkey_knows = isinstance(sealed, bytes)
            if isinstance(sealed, bytes):
                self._take(sealed, "valkey")
            self.valkey_up = True
            await self._say(client, ACKS)
            _done(first)
            await self._hear(client, tables)

    async def _hear(self, client: redis.asyncio.Redis, tables: PubSub) -> None:
        loop = asyncio.get_running_loop()
        beat = loop.time() + _BEAT
        while True:
            pause = _LOOK if self._has_word(self._said_to_valkey) else beat - loop.time()
            message = await tables.get_message(timeout=max(0.001, pause))
            due = loop.time() >= beat
            # Asked whatever has come: word of streams comes as often as this looks.
            if self._is_newer_table(message) or self._is_news(self._said_to_valkey):
                await self._say(client, ACKS)
            elif due:
                await self._say(client, "")
            beat = loop.time() + _BEAT if due else beat

    def _is_newer_table(self, message: dict[str, Any] | None) -> bool:
        """Take what was pushed, if anything was, and return whether it is a table to go by from now on."""
        if message is None:
            return False
        if message["channel"] == _WATERMARKS:
            self._hear_watermarks(message["data"])
            return False
        taken = self._take(message["data"], "valkey")
        self._valkey_knows = self._valkey_knows or taken
        return taken

    def _hear_watermarks(self, sealed: bytes) -> None:
        try:
            self._board.reached.hear(unseal_watermarks(sealed, *self._keys))
            self._complained = False
        except WatermarksInvalid as exc:
            if not self._complained:  # they come many times a second
                self._complained = True
                _LOG.error("how far streams are is not believed, and reads after writes go to the owner: %s", exc)

    async def _say(self, client: redis.asyncio.Redis, channel: str) -> None:
        held, asked_at = self._board.holds.words(), self._board.time()
        told = json.dumps(held) if held else ""
        await client.eval(_SAY, 1, WORKERS, self._worker, str(self._version), self._about, channel, told)
        self._said_to_valkey = held
        if self._valkey_knows:
            self._board.holds.heard(asked_at)

    def _has_word(self, said: Words | None) -> bool:
        """Return whether there is more to acknowledge than was ``said``, or soon will be.

        The last write may end while one that is under way is told of: a beat later whoever moves the owner would know.
        """
        return self._is_news(said) or any(word["in_flight"] for word in self._board.holds.words().values())

    def _is_news(self, said: Words | None) -> bool:
        """Return whether somebody waits for a word. How many are parked changes all the time, and beats tell it."""
        return said is None or _counted(said) != _counted(self._board.holds.words())

    async def _leave_valkey(self) -> None:
        if self._links.redis:
            async with self._valkey() as client:
                await cast("Awaitable[Any]", client.hdel(WORKERS, self._worker))

    # --- Postgres ---

    async def _follow_postgres(self, first: asyncio.Future[None]) -> None:
        while True:
            try:
                await self._listen_postgres(first)
            except (psycopg.Error, OSError, TimeoutError) as exc:
                self._lost("Postgres", self.postgres_up, exc)
                self.postgres_up = False
            finally:
                _done(first)
            await asyncio.sleep(_AGAIN)

    async def _listen_postgres(self, first: asyncio.Future[None]) -> None:
        async with asyncio.timeout(_PATIENCE):
            connection = await psycopg.AsyncConnection.connect(
                self._links.database, autocommit=True, application_name="strangler proxy"
            )
        self._said_to_postgres = None
        try:
            while True:
                async with asyncio.timeout(_PATIENCE):
                    while await self._beat_postgres(connection):
                        pass
                self.postgres_up = True
                _done(first)
                await asyncio.sleep(_LOOK if self._has_word(self._said_to_postgres) else _BEAT)
        finally:
            await connection.close()

    async def _beat_postgres(self, connection: psycopg.AsyncConnection) -> bool:
        """Say that this worker is there, and return whether there was a newer table, to say so again."""
        word = {"id": self._worker, "version": self._version, "about": self._about}
        asked_at = self._board.time()
        cursor = await connection.execute(_BEAT_SQL, word)
        row = await cursor.fetchone()
        taken = row is not None and self._take(bytes(row[0]), "postgres")
        self._board.holds.heard(asked_at)
        held = self._board.holds.words()
        if held != self._said_to_postgres:
            await connection.execute(_HELD_SQL, {"id": self._worker, "held": json.dumps(held)})
            self._said_to_postgres = held
        return taken

    async def _leave_postgres(self) -> None:
        if self._links.database:
            async with await psycopg.AsyncConnection.connect(self._links.database, autocommit=True) as connection:
                await connection.execute("delete from strangler.worker where id = %s", [self._worker])

    def _lost(self, engine: str, before: bool | None, exc: Exception) -> None:
        if before is not False:
            _LOG.warning("%s cannot be reached, version %d stays in force: %s", engine, self._version, exc)


def _done(first: asyncio.Future[None]) -> None:
    if not first.done():
        first.set_result(None)
