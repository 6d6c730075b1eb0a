"""What stands behind and beside the proxy in a measurement, each a process of its own.

``origin PORT``: answers every request with the same half kilobyte of JSON, as cheaply as this machine can.
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


class _Origin(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._partial = b""

    def data_received(self, data: bytes) -> None:
        *requests, self._partial = (self._partial + data).split(b"\r\n\r\n")
        if requests:
            self._transport.write(_RESPONSE * len(requests))


async def _origin(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Origin, "127.0.0.1", port)
    await server.serve_forever()


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
    if sys.argv[1] == "origin":
        uvloop.run(_origin(int(sys.argv[2])))
    else:
        app = _peer(sys.argv[3])
        uvicorn.run(
            app, host="127.0.0.1", port=int(sys.argv[2]), loop="uvloop", http="httptools", log_level="error",
            access_log=False,
        )  # fmt: skip
