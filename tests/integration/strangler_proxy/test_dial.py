"""How stacks are reached: over TCP, proven by TLS, through a Unix socket."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from typing import cast

import pytest
import uvloop

from strangler.routing.address import parse_endpoint
from strangler_proxy.dial import dial
from strangler_proxy.listening import accept, bind
from strangler_proxy.tls import Certificate, server_context
from tests.fixtures.certificates import Authority

PATIENCE = 10.0


class Greeter(asyncio.Protocol):
    """Says who it believes to be, and ends."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast("asyncio.Transport", transport)
        stream.write(b"the stack")
        stream.close()


class Asker(asyncio.Protocol):
    """Keeps what it is told until the end."""

    def __init__(self) -> None:
        self.told = b""
        self.ended = asyncio.Event()
        self.by = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        agreed = transport.get_extra_info("ssl_object")
        self.by = "plain" if agreed is None else f"{agreed.version()} {agreed.server_hostname}"

    def data_received(self, data: bytes) -> None:
        self.told += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()


async def told(
    endpoint: str,
    listener: socket.socket,
    certificate: Certificate,
    context: ssl.SSLContext | None = None,
    at: str = "",
) -> tuple[bytes, str]:
    server = await accept(Greeter, listener, context)
    asker = Asker()
    try:
        await dial(lambda: asker, parse_endpoint(endpoint), certificate, at)
        await asyncio.wait_for(asker.ended.wait(), PATIENCE)
    finally:
        server.close()
        await asyncio.sleep(0)  # lets the loop close it
    return asker.told, asker.by


def listening(host: str = "127.0.0.1") -> tuple[socket.socket, int]:
    (listener,) = bind(f"{host}:0", 1)
    return listener, listener.getsockname()[1]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def believed(authority: Authority) -> Certificate:
    return Certificate.for_stacks(authority.ca)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_over_tcp(host: str, believed: Certificate) -> None:
    listener, port = listening(host)
    assert uvloop.run(told(f"http://{host}:{port}", listener, believed)) == (b"the stack", "plain")


def test_through_a_unix_socket(tmp_path: Path, believed: Certificate) -> None:
    (listener,) = bind(f"unix:{tmp_path}/shop.sock", 1)
    assert uvloop.run(told(f"unix:{tmp_path}/shop.sock", listener, believed)) == (b"the stack", "plain")


def test_proven_by_the_address(authority: Authority, believed: Certificate) -> None:
    pair = authority.give("127.0.0.1")
    listener, port = listening()
    found = uvloop.run(
        told(f"https://127.0.0.1:{port}", listener, believed, server_context(pair.certificate, pair.key))
    )
    assert found == (b"the stack", "TLSv1.3 127.0.0.1")


def test_proven_by_the_name_wherever_it_leads(authority: Authority, believed: Certificate) -> None:
    pair = authority.give("shop.test")
    listener, port = listening()
    context = server_context(pair.certificate, pair.key)
    found = uvloop.run(told(f"https://shop.test:{port}", listener, believed, context, at="127.0.0.1"))
    assert found == (b"the stack", "TLSv1.3 shop.test")


def test_who_proves_to_be_another_is_not_asked(authority: Authority, believed: Certificate) -> None:
    pair = authority.give("other.test")
    listener, port = listening()
    context = server_context(pair.certificate, pair.key)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"not valid for 'shop\.test'"):
        uvloop.run(told(f"https://shop.test:{port}", listener, believed, context, at="127.0.0.1"))


def test_nobody_there(tmp_path: Path, believed: Certificate) -> None:
    listener, _ = listening()
    with pytest.raises(FileNotFoundError):
        uvloop.run(told(f"unix:{tmp_path}/shop.sock", listener, believed))
