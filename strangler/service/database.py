"""The service's own database: where it is, and a bounded pool of connections that notices a server gone."""

from __future__ import annotations

import logging
import select
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from strangler.service.errors import SettingRefused, Unavailable
from strangler.service.fenced import refusal
from strangler.service.position import QUERY

logger = logging.getLogger(__name__)

_RECONNECT_SECONDS: Final = 3.0

Connection = psycopg.AsyncConnection[tuple[object, ...]]


def setting(name: str, env: Mapping[str, str]) -> str:
    """Return ``$NAME``, or what the file named by ``$NAME_FILE`` holds; raises ``SettingRefused`` without either."""
    if value := env.get(name):
        return value
    path = env.get(f"{name}_FILE")
    if not path:
        raise SettingRefused(f"{name} is not set; set it, or {name}_FILE to a file that holds it")
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingRefused(f"{name}_FILE names {path}: {error.strerror}") from error


class Database:
    """A bounded pool on ``url``; opened and closed with the application.

    Opening does not wait for the server: a service whose database is away starts, says that it is not ready, and
    becomes ready by itself. ``statement_timeout`` ends what nobody waits for any more.
    """

    def __init__(
        self, url: str, *, application: str, size: int = 10, wait_seconds: float = 1.0, statement_seconds: float = 5.0
    ) -> None:
        self._statement_ms = int(statement_seconds * 1000)
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            min_size=min(2, size),
            max_size=size,
            timeout=wait_seconds,
            # Attempts that go on double their pause each time, and a server that is back would be found late. Those
            # that give up leave the next one to whoever asks for a connection, such as the next readiness check.
            reconnect_timeout=_RECONNECT_SECONDS,
            open=False,
            kwargs={"autocommit": True, "application_name": application},
            configure=self._configure,
            check=_still_there,
        )

    async def open(self) -> None:
        await self._pool.open(wait=False)

    async def close(self) -> None:
        await self._pool.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection in autocommit.

        Raises ``Unavailable`` when none is to be had, or the server goes; ``NotOwner`` where a fence refuses a write.
        """
        try:
            async with self._pool.connection() as connection:
                yield connection
        except (PoolTimeout, psycopg.OperationalError) as error:
            raise Unavailable(f"the database does not answer: {error}") from error
        except psycopg.Error as error:
            if (refused := refusal(error)) is None:
                raise
            raise refused from error

    async def check(self) -> str | None:
        """Tell what is wrong with the database, None when nothing is: a check of ``/health/ready``."""
        try:
            async with self.connection() as connection:
                await connection.execute("SELECT 1")
        except Unavailable as gone:
            logger.warning("not ready: %s", gone)
            return "the database does not answer"
        return None

    async def position(self) -> str | None:
        """Tell how far the WAL is, None when that cannot be said: the ``position`` of a chassis."""
        try:
            async with self.connection() as connection:
                row = await (await connection.execute(QUERY)).fetchone()
        except Unavailable as gone:
            logger.warning("nobody can say how far the database has written: %s", gone)
            return None
        return None if row is None else str(row[0])

    async def _configure(self, connection: Connection) -> None:
        await connection.execute(
            "SELECT set_config('statement_timeout', %s, false), set_config('timezone', 'UTC', false)",
            (str(self._statement_ms),),
        )


async def _still_there(connection: Connection) -> None:
    # An idle connection has nothing to read. When it has, the server said goodbye or the socket is at its end, and
    # only then is a round trip spent on the question; asking each time would double the cost of a short query.
    if select.select([connection.fileno()], [], [], 0)[0]:
        await AsyncConnectionPool.check_connection(connection)
