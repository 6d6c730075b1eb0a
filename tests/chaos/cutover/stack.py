"""A stack of a few routes over one database: ``python -m tests.chaos.cutover.stack monolith|service PORT URL``.

It answers as one with the toolkit's middleware does: 503 to a write that a fence refuses, which says that nothing was
saved. ``Stack-Name`` says who answers.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import psycopg
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.chaos.cutover.tables import TABLES

FENCED: Final = "SF001"
_CONNECTIONS: Final = 10
# After the commit: what a visitor carries so that no later read is older than that.
_POSITION: Final = "select pg_current_wal_insert_lsn()::text"


class Away(Exception):
    """The database cannot be reached, and nothing was sent."""


class Connections:
    """So many connections at most, each made when it is wanted and none is free."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._free: list[psycopg.AsyncConnection[Any]] = []
        self._room = asyncio.Semaphore(_CONNECTIONS)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """Yield a connection. Raises ``Away``."""
        async with self._room:
            connection = self._free.pop() if self._free else await self._made()
            yield connection
            if connection.closed:
                self._free.clear()  # whatever ended one has ended all
            else:
                self._free.append(connection)

    async def _made(self) -> psycopg.AsyncConnection[Any]:
        try:
            return await psycopg.AsyncConnection.connect(
                self._url, autocommit=True, connect_timeout=2, application_name="stack"
            )
        except psycopg.OperationalError as exc:
            raise Away from exc


Answer = tuple[int, dict[str, Any]]
Act = Callable[[psycopg.AsyncConnection[Any], Mapping[str, Any]], Awaitable[Answer]]


class Stack:
    """What one stack does. ``saved`` tells a client whether what it sent is written; None that nobody knows."""

    def __init__(self, name: str, url: str) -> None:
        self.name, self.tables, self.connections = name, TABLES[name], Connections(url)

    async def buy(self, request: Request) -> Response:
        return await self._write(self.tables.buy, await request.json())

    async def take_back(self, request: Request) -> Response:
        return await self._write(self.tables.take_back, request.path_params)

    async def count(self, request: Request) -> Response:
        return await self._write(self.tables.count, {"client": request.path_params["client"], **await request.json()})

    async def bought(self, request: Request) -> Response:
        return await self._read(self.tables.bought, request.path_params)

    async def counter(self, request: Request) -> Response:
        return await self._read(self.tables.counter, request.path_params)

    async def _write(self, statement: str, values: Mapping[str, Any]) -> Response:
        async def act(connection: psycopg.AsyncConnection[Any]) -> Answer:
            await self.perform(connection, statement, values)
            row = await (await connection.execute(_POSITION)).fetchone()
            return 201, {"saved": True, "position": row and row[0]}

        return await self._answer(act)

    async def perform(
        self, connection: psycopg.AsyncConnection[Any], statement: str, values: Mapping[str, Any]
    ) -> None:
        """Write, and return once it is committed."""
        await connection.execute(statement.encode(), values)

    async def _read(self, statement: str, values: Mapping[str, Any]) -> Response:
        async def act(connection: psycopg.AsyncConnection[Any]) -> Answer:
            rows = await (await connection.execute(statement.encode(), values)).fetchall()
            return 200, {"values": [value for (value,) in rows]}

        return await self._answer(act)

    async def _answer(self, act: Callable[[psycopg.AsyncConnection[Any]], Awaitable[Answer]]) -> Response:
        try:
            async with self.connections.one() as connection:
                try:
                    status, body = await act(connection)
                except psycopg.Error as exc:
                    status, body = _told(exc)
        except Away:
            status, body = 503, {"saved": False, "why": "no connection"}
        headers = {"Stack-Name": self.name}
        if body.get("position"):
            headers["Strangler-Position"] = body["position"]
        return JSONResponse(body, status, headers=headers)


def _told(exc: psycopg.Error) -> Answer:
    if exc.sqlstate == FENCED:
        return 503, {"saved": False, "why": "fenced"}
    if isinstance(exc, psycopg.OperationalError):
        return 503, {"saved": None, "why": "the answer was lost"}
    return 500, {"saved": None, "why": str(exc)}


def application(stack: Stack) -> Starlette:
    return Starlette(
        routes=[
            Route("/purchases", stack.buy, methods=["POST"]),
            Route("/purchases/{ref}", stack.bought, methods=["GET"]),
            Route("/purchases/{ref}", stack.take_back, methods=["DELETE"]),
            Route("/accounts/{client:int}", stack.count, methods=["PUT"]),
            Route("/accounts/{client:int}", stack.counter, methods=["GET"]),
            Route("/health", _health),
        ]
    )


async def _health(request: Request) -> Response:
    return JSONResponse({})


def main() -> None:
    name, port, url = sys.argv[1], int(sys.argv[2]), json.loads(sys.stdin.readline())
    uvicorn.run(application(Stack(name, url)), host="127.0.0.1", port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
