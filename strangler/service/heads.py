"""uvicorn's protocol with an end to a request's head: how many bytes it may have, and how long it may take.

httptools keeps what it has of a head for as long as it grows, and uvicorn waits for the rest of it for ever. Behind the
proxy, which has bounds of its own (60 KiB, 10 s), nobody notices; whoever reaches a service past it would.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_REFUSED: Final = {
    408: b"HTTP/1.1 408 Request Timeout\r\n",
    431: b"HTTP/1.1 431 Request Header Fields Too Large\r\n",
}
_REST: Final = b"connection: close\r\ncontent-length: 0\r\n\r\n"


class BoundedHeads(HttpToolsProtocol):
    """Answers 431 and 408 (RFC 6585, section 5; RFC 9110, section 15.5.9) and closes the connection.

    ``idle_seconds`` are for a connection on which nothing ever came; afterwards uvicorn's own keep-alive counts.
    """

    def __init__(self, *args: Any, head_bytes: int, head_seconds: float, idle_seconds: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = head_bytes
        self._head_seconds = head_seconds
        self._idle_seconds = idle_seconds
        self._taken = 0
        self._size = 0
        self._in_head = True
        self._ended = False
        self._begun = False
        self._too_large = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait(self._idle_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before, self._ended = self._in_head, False
        super().data_received(data)
        # What one piece brings is bounded by the transport; what adds up is not.
        if before and self._in_head and not self._ended and not self.transport.is_closing():
            self._taken += len(data)
            if self._taken > self._head_bytes:
                self._refuse(431)

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_message_begin(self) -> None:
        self._size, self._begun = 0, True
        self._wait(self._head_seconds)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._wait(None)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head, self._ended, self._taken = True, True, 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        if self._too_large:
            self._refuse(431)
        else:
            super().send_400_response(msg)

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > self._head_bytes:
            self._too_large = True
            raise ValueError("the head is too large")  # the parser's callers answer it

    def _wait(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self.loop.call_later(seconds, self._refuse, 408)

    def _refuse(self, status: int) -> None:
        self._wait(None)
        if not self.transport.is_closing():
            self.transport.write(_REFUSED[status] + _REST if self._begun else b"")
            self.transport.close()
