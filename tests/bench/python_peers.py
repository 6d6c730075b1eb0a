"""Proxies written in Python by others, run by the interpreter that has them: ``MODULE PORT ORIGIN``."""

from __future__ import annotations

import sys
from typing import Any

_HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host", "content-length"}


def _aiohttp(port: int, origin: str) -> None:
    import aiohttp
    import uvloop
    from aiohttp import web

    async def application() -> Any:
        connector = aiohttp.TCPConnector(limit=0)
        session = aiohttp.ClientSession(origin, connector=connector, auto_decompress=False)

        async def forward(request: Any) -> Any:
            headers = [(key, value) for key, value in request.headers.items() if key.lower() not in _HOP_BY_HOP]
            data = request.content if request.body_exists else None
            asked = session.request(request.method, request.rel_url, headers=headers, data=data, allow_redirects=False)
            async with asked as found:
                kept = [(key, value) for key, value in found.headers.items() if key.lower() not in _HOP_BY_HOP]
                response = web.StreamResponse(status=found.status, headers=kept)
                response.content_length = found.content_length
                await response.prepare(request)
                async for piece in found.content.iter_any():
                    await response.write(piece)
                await response.write_eof()
                return response

        app = web.Application(client_max_size=1 << 40)
        app.router.add_route("*", "/{path:.*}", forward)
        return app

    uvloop.install()
    web.run_app(application(), host="127.0.0.1", port=port, access_log=None, print=None)


def _asgi(module: str, port: int, origin: str) -> None:
    import uvicorn

    app: Any
    if module == "fastapi":
        from fastapi_proxy_lib.fastapi.app import reverse_http_app

        app = reverse_http_app(base_url=origin + "/")
    else:
        from asgi_proxy import asgi_proxy

        app = asgi_proxy(origin)
    uvicorn.run(app, host="127.0.0.1", port=port, loop="uvloop", http="httptools", log_level="error", access_log=False)


if __name__ == "__main__":
    module, port, origin = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    if module == "aiohttp":
        _aiohttp(port, origin)
    else:
        _asgi(module, port, origin)
