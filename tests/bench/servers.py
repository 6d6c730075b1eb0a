"""What stands behind and beside the proxy in a measurement, each a process of its own.

``origin PORT``: answers every request with the same half kilobyte of JSON, as cheaply as this machine can, and
``/big`` with 100 MB, where it also takes what is put.
``sink PORT``: takes spans.
``peer PORT ORIGIN``: a reverse proxy as one writes it with Starlette and httpx, streaming, connections pooled.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, cast

import httpx
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

BODY: Final = b'{"id": 17, "name": "Kettle", "price": "12.50", "description": "' + b"x" * 434 + b'"}'
_RESPONSE: Final = (
    b"HTTP/1.1 200 OK\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nServer: origin\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
_HOP_BY_HOP: Final = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}


BIG: Final = 100_000_000
_PIECE: Final = b"x" * 250_000
_TAKEN: Final = b"HTTP/1.1 204 No Content\r\n\r\n"


class _Origin(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._partial = b""
        self._upload = 0
        self._download = 0

    def data_received(self, data: bytes) -> None:
        if self._upload:
            self._take(len(data))
            return
        if b" /big " in data:
            self._begin(self._partial + data)
            return
        *requests, self._partial = (self._partial + data).split(b"\r\n\r\n")
        if requests:
            self._transport.write(_RESPONSE * len(requests))

    def _begin(self, data: bytes) -> None:
        head, _, rest = data.partition(b"\r\n\r\n")
        if head.startswith(b"PUT"):
            self._upload = BIG
            self._take(len(rest))
        else:
            self._download = BIG
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG)
            self.resume_writing()

    def _take(self, size: int) -> None:
        self._upload -= size
        if not self._upload:
            self._transport.write(_TAKEN)

    def resume_writing(self) -> None:
        self._full = False
        while self._download and not self._full:
            self._download -= len(_PIECE)
            self._transport.write(_PIECE)

    def pause_writing(self) -> None:
        self._full = True


async def _serve(protocol: type[asyncio.Protocol], port: int) -> None:
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", port)
    await server.serve_forever()


class _Sink(asyncio.Protocol):
    """A collector of spans that takes everything."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._left = 0

    def data_received(self, data: bytes) -> None:
        if not self._left:
            head, _, data = data.partition(b"\r\n\r\n")
            self._left = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        self._left -= len(data)
        if not self._left:
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"
            )


def _peer(origin: str) -> Starlette:
    client = httpx.AsyncClient(base_url=origin, limits=httpx.Limits(max_connections=None), timeout=60)

    async def forward(request: Request) -> StreamingResponse:
        headers = [(key, value) for key, value in request.headers.raw if key.decode() not in _HOP_BY_HOP]
        has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
        sent = client.build_request(
            request.method,
            request.url.path + (f"?{request.url.query}" if request.url.query else ""),
            headers=headers,
            content=request.stream() if has_body else None,
        )
        found = await client.send(sent, stream=True)
        response = StreamingResponse(
            found.aiter_raw(), status_code=found.status_code, background=BackgroundTask(found.aclose)
        )
        response.raw_headers = [(key, value) for key, value in found.headers.raw if key.decode() not in _HOP_BY_HOP]
        return response

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    return Starlette(routes=[Route("/{path:path}", forward, methods=methods)], lifespan=lifespan)


if __name__ == "__main__":
    if sys.argv[1] in ("origin", "sink"):
        uvloop.run(_serve(_Origin if sys.argv[1] == "origin" else _Sink, int(sys.argv[2])))
    else:
        app = _peer(sys.argv[3])
        uvicorn.run(
            app, host="127.0.0.1", port=int(sys.argv[2]), loop="uvloop", http="httptools", log_level="error",
            access_log=False,
        )  # fmt: skip
