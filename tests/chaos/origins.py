"""``python -m tests.chaos.origins HOW`` is a stack that answers well, or wrongly in one way; it prints its port."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import uvloop

_WELL: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n" + b"x" * 500

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


async def _well(writer: asyncio.StreamWriter) -> None:
    writer.write(_WELL)


async def _dies(writer: asyncio.StreamWriter) -> None:
    writer.write(_WELL[:300])
    writer.close()


async def _never(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3600)


async def _garbage(writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x00\xffHTTP/9.9 no\n\n" * 100)


async def _resets(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _drips(writer: asyncio.StreamWriter) -> None:
    head, _, body = _WELL.partition(b"\r\n\r\n")
    writer.write(head + b"\r\n\r\n")
    for at in range(len(body)):
        writer.write(body[at : at + 1])
        await asyncio.sleep(1)


HOW: Final[dict[str, Answer]] = {
    "well": _well,
    "dies": _dies,
    "never": _never,
    "garbage": _garbage,
    "resets": _resets,
    "drips": _drips,
}


async def _serve(answer: Answer) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await answer(writer)
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(HOW[sys.argv[1]]))
