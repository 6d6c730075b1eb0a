"""New connections to stacks: plain, proven by TLS, or through a Unix socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from strangler.routing.address import Endpoint, plain_address
from strangler_proxy.tls import Certificate


async def dial(
    factory: Callable[[], asyncio.BaseProtocol], endpoint: Endpoint, certificate: Certificate, at: str = ""
) -> None:
    """Connect what ``factory`` makes to ``endpoint``. Raises ``OSError``, as which errors of TLS come, too.

    ``at`` is the address to ask when the host's name has been resolved already; what must be proven stays the name. How
    long it may take is for the caller to say.
    """
    loop = asyncio.get_running_loop()
    if endpoint.path:
        await loop.create_unix_connection(factory, endpoint.path)
    elif endpoint.secure:
        name = plain_address(endpoint.host)
        context = certificate.current
        await loop.create_connection(factory, at or endpoint.host, endpoint.port, ssl=context, server_hostname=name)
    else:
        await loop.create_connection(factory, at or endpoint.host, endpoint.port)
