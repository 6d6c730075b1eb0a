"""``python -m tests.chaos.attacks HOW PORT SECONDS`` harms a proxy for so long, and prints what it got as JSON.

Clients come from several addresses of this machine, so that the bound on one address's connections does not save
the proxy; the innocent come from another one.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import uvloop

SOURCES: Final = tuple(f"127.0.1.{at}" for at in range(1, 21))
SLOW: Final = 5_000
HELD: Final = 400
_ASKING: Final = 20
_FLOODING: Final = 100
_HELLO: Final = b"GET /shelf HTTP/1.1\r\nHost: shop.test\r\n\r\n"

Seen = Counter[str]


async def _connect(port: int, at: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port, local_addr=(SOURCES[at % len(SOURCES)], 0))


async def _asks(port: int, at: int, seen: Seen) -> None:
    """Ask the stack that does wrong, again and again."""
    while True:
        reader, writer = await _connect(port, at)
        try:
            await _ask(reader, writer, seen)
        except (OSError, asyncio.IncompleteReadError) as exc:
            seen["broken off" if isinstance(exc, asyncio.IncompleteReadError) else type(exc).__name__] += 1
        finally:
            writer.close()
        await asyncio.sleep(0.005)


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
    while True:
        writer.write(_HELLO)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b":0")
        await reader.readexactly(int(length.partition(b":")[2]))
        seen[head[9:12].decode()] += 1
        await asyncio.sleep(0.005)


async def _writes_slowly(port: int, at: int, seen: Seen) -> None:
    """Send a byte of a head each second, until there is an answer."""
    with suppress(OSError):
        reader, writer = await _connect(port, at)
        seen["connected"] += 1
        answer = asyncio.ensure_future(reader.read(1000))
        for byte in _HELLO[:-4] + b"\r\nX: " + b"y" * 100:
            writer.write(bytes([byte]))
            if (await asyncio.wait([answer], timeout=1))[0]:
                break
        seen[(await answer)[9:12].decode() or "closed"] += 1
        writer.close()


async def _holds(port: int, at: int, seen: Seen) -> None:
    """Connect, ask once, and stay."""
    with suppress(OSError, asyncio.IncompleteReadError):
        reader, writer = await _connect(port, at)
        seen["connected"] += 1
        writer.write(_HELLO)
        seen[(await reader.readexactly(12))[9:].decode()] += 1
        await asyncio.sleep(3600)


async def _floods(port: int, at: int, seen: Seen) -> None:
    """Connect, ask, and leave with the answer, as fast as it goes."""
    while True:
        at += 1
        try:
            reader, writer = await _connect(port, at)
            writer.write(_HELLO.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            seen[(await reader.read())[9:12].decode() or "closed"] += 1
            writer.close()
        except OSError as exc:
            seen[type(exc).__name__] += 1


Attack = Callable[[int, int, Seen], Awaitable[None]]

HOW: Final[dict[str, tuple[Attack, int]]] = {
    "asks": (_asks, _ASKING),
    "writes slowly": (_writes_slowly, SLOW),
    "holds": (_holds, HELD),
    "floods": (_floods, _FLOODING),
}


async def _attack(how: str, port: int, seconds: float) -> None:
    attack, count = HOW[how]
    seen: Seen = Counter()
    tasks = [asyncio.ensure_future(attack(port, at, seen)) for at in range(count)]
    await asyncio.wait(tasks, timeout=seconds)
    print(json.dumps(seen), flush=True)
    os._exit(0)  # the kernel ends the connections sooner than 5,000 tasks would


if __name__ == "__main__":
    uvloop.run(_attack(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
