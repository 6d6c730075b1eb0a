"""Who may say who a client is: headers of the PROXY protocol before plain and encrypted connections."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from dataclasses import dataclass, replace
from ipaddress import ip_network
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest

from strangler.project.limits import Timeouts
from strangler_proxy.entrance import Complaints, Entrances
from strangler_proxy.settings import Entry, Network
from strangler_proxy.switchboard import Switchboard
from strangler_proxy.tls import CertificateInvalid, client_context
from tests.fixtures.certificates import Authority, Pair
from tests.fixtures.guarded import forwarded, guarded
from tests.fixtures.proxy import (
    PATIENCE,
    SETTINGS,
    Client,
    read_until,
)
from tests.fixtures.waiting import until

Networks = tuple[Network, ...]
BALANCERS: Networks = (ip_network("127.0.0.0/8"),)
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
TEXT = b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 80\r\n"
GET = b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n"


PLAIN = Entry(addresses=("127.0.0.1:0",), proxy_protocol=BALANCERS)


def binary(command: int = 0x21, transport: int = 0x11, block: bytes = b"\xc0\0\2\7\xc0\0\2\x08\x12\x67\0\x50") -> bytes:
    return SIGNATURE + bytes([command, transport]) + struct.pack(">H", len(block)) + block


SECURE = binary(block=b"\xc0\0\2\7\xc0\0\2\x08\x12\x67\0\x50" + b"\x20\0\5\1\0\0\0\0")


@pytest.mark.parametrize(
    ("header", "client", "scheme"),
    [
        (TEXT, "192.0.2.7", "http"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::8 4711 80\r\n", "2001:db8::7", "http"),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 4711 80\r\n", "192.0.2.7", "http"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1", "http"),
        (binary(), "192.0.2.7", "http"),
        (binary(0x20, 0, b""), "127.0.0.1", "http"),
        (binary(0x21, 0, b""), "127.0.0.1", "http"),
        (binary(0x21, 0x31, b"/run/x".ljust(216, b"\0")), "127.0.0.1", "http"),
        (SECURE, "192.0.2.7", "https"),
    ],
)
def test_a_balancer_says_who_its_client_is(header: bytes, client: str, scheme: str) -> None:
    with guarded(PLAIN) as (proxy, origin), proxy.client() as connection:
        connection.send(header + GET)
        assert connection.response().body == b"monolith"
        found = forwarded(origin)
        assert (found["X-Forwarded-For"], found["X-Forwarded-Proto"]) == (client, scheme)
        assert connection.get("/again").status == 200


def test_a_header_may_come_in_pieces() -> None:
    with guarded(PLAIN) as (proxy, origin), proxy.client() as connection:
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = binary() + GET
        for at in range(len(data)):
            connection.send(data[at : at + 1])
        assert connection.response().status == 200
        assert forwarded(origin)["X-Forwarded-For"] == "192.0.2.7"


def test_a_client_that_is_trusted_may_say_more() -> None:
    """The header names a second balancer, which is believed by its networks as if it had come itself."""
    with (
        guarded(PLAIN, replace(SETTINGS, trusted=(ip_network("192.0.2.0/24"),))) as (proxy, origin),
        proxy.client() as connection,
    ):
        connection.send(TEXT + GET[:-2] + b"X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-Proto: https\r\n\r\n")
        assert connection.response().status == 200
        found = forwarded(origin)
        assert (found["X-Forwarded-For"], found["X-Forwarded-Proto"]) == ("198.51.100.1, 192.0.2.7", "https")


def test_a_balancer_cannot_make_a_client_trusted() -> None:
    with (
        guarded(PLAIN, replace(SETTINGS, trusted=BALANCERS)) as (proxy, origin),
        proxy.client() as connection,
    ):
        connection.send(TEXT + GET[:-2] + b"X-Forwarded-For: 198.51.100.1\r\n\r\n")
        assert connection.response().status == 200
        assert forwarded(origin)["X-Forwarded-For"] == "192.0.2.7"


def test_from_others_a_header_is_not_read() -> None:
    entry = replace(PLAIN, proxy_protocol=(ip_network("192.0.2.0/24"),))
    with guarded(entry) as (proxy, origin):
        with proxy.client() as connection:
            assert connection.get("/").status == 200
            assert forwarded(origin)["X-Forwarded-For"] == "127.0.0.1"
        with proxy.client() as connection:
            connection.send(TEXT + GET)
            assert connection.response().status == 400
        assert len(origin.heads) == 1


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (GET, "no header of the PROXY protocol"),
        (b"PROXY TCP4 nowhere\r\n", "1 fields after TCP4; two addresses and two ports are wanted"),
        (binary(0x2F), "command 15; LOCAL (0) and PROXY (1) are known"),
    ],
)
def test_who_must_send_a_header_is_closed_without(data: bytes, why: str, caplog: pytest.LogCaptureFixture) -> None:
    with guarded(PLAIN) as (proxy, origin):
        for _ in range(2):
            with proxy.client() as connection:
                connection.send(data)
                connection.closed()
        assert origin.heads == []
        assert [record.getMessage() for record in caplog.records] == [
            f"a connection from 127.0.0.1 is closed: {why} (0 more before)"
        ]
        until(lambda: not proxy.call(lambda: proxy.board.watched), "nothing is left")


def test_complaints_are_counted_between(caplog: pytest.LogCaptureFixture) -> None:
    complaints = Complaints()
    for now in (100.0, 101.0, 159.0, 160.0, 161.0):
        complaints(now, "192.0.2.1", "why")
    assert [record.getMessage() for record in caplog.records] == [
        "a connection from 192.0.2.1 is closed: why (0 more before)",
        "a connection from 192.0.2.1 is closed: why (2 more before)",
    ]


def test_a_header_that_does_not_come_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    with guarded(PLAIN, replace(SETTINGS, timeouts=Timeouts(request_headers=0.3))) as (proxy, _):
        with proxy.client() as connection:
            connection.send(TEXT[:-1])
            connection.closed()
        assert "its header of the PROXY protocol did not come in time" in caplog.text


def test_a_client_that_goes_before_its_header_leaves_nothing() -> None:
    with guarded(PLAIN) as (proxy, _):
        with proxy.client() as connection:
            connection.send(TEXT[:9])
            until(lambda: proxy.call(lambda: len(proxy.board.watched)) == 1, "it waits")
        until(lambda: not proxy.call(lambda: proxy.board.watched), "nothing is left")


def test_a_drain_does_not_wait_for_headers() -> None:
    settings = replace(SETTINGS, timeouts=Timeouts(drain_idle=0.1))
    with guarded(PLAIN, settings) as (proxy, _), proxy.client() as connection:
        connection.send(TEXT[:9])
        until(lambda: proxy.call(lambda: len(proxy.board.watched)) == 1, "it waits")
        proxy.call(proxy.board.drain)
        connection.closed()


@pytest.mark.parametrize(
    ("networks", "trusted", "sent", "client"),
    [
        ((), (), b"", "127.0.0.1"),
        (BALANCERS, (), TEXT, "192.0.2.7"),
        ((), BALANCERS, b"", "198.51.100.1, 127.0.0.1"),
    ],
)
def test_a_unix_socket_is_as_good_as_the_loopback_address(
    networks: Networks, trusted: Networks, sent: bytes, client: str, tmp_path: Path
) -> None:
    path = tmp_path / "shop.sock"
    entry = Entry(addresses=("127.0.0.1:0", f"unix:{path}"), proxy_protocol=networks)
    with (
        guarded(entry, replace(SETTINGS, trusted=trusted)) as (_, origin),
        socket.socket(socket.AF_UNIX) as sock,
    ):
        sock.settimeout(PATIENCE)
        sock.connect(str(path))
        sock.sendall(sent + GET[:-2] + b"X-Forwarded-For: 198.51.100.1\r\n\r\n")
        assert read_until(sock, b"\r\n") == b"HTTP/1.1 200 OK\r\n"
        assert forwarded(origin)["X-Forwarded-For"] == client


# --- TLS ---


@dataclass(frozen=True)
class Secured:
    authority: Authority
    pair: Pair
    entry: Entry


@pytest.fixture
def secured(tmp_path: Path) -> Secured:
    authority = Authority(tmp_path)
    pair = authority.give("shop.test")
    entry = replace(PLAIN, addresses=("tls:127.0.0.1:0",), certificate=str(pair.certificate), key=str(pair.key))
    return Secured(authority, pair, entry)


class SecureClient(Client):
    """A connection that begins in the clear with ``before``, and goes on by TLS."""

    def __init__(self, port: int, authority: Authority, before: bytes = b"") -> None:
        super().__init__(port)
        self.sock.sendall(before)
        self.sock = client_context(authority.ca).wrap_socket(self.sock, server_hostname="shop.test")

    @property
    def certificate(self) -> bytes:
        return cast("ssl.SSLSocket", self.sock).getpeercert(binary_form=True) or b""


def together(port: int, authority: Authority, header: bytes, cuts: list[int]) -> tuple[ssl.SSLObject, Client]:
    """Send the header with the first bytes of the handshake, cut so, and return what has been agreed on."""
    coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = Client(port)
    client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    wrapped = client_context(authority.ca).wrap_bio(coming, going, server_hostname="shop.test")
    before = header
    while True:
        with contextlib.suppress(ssl.SSLWantReadError):
            wrapped.do_handshake()
            client.send(going.read())
            return wrapped, client
        hello, before = before + going.read(), b""
        for start, end in pairwise([0, *cuts, len(hello)]):
            client.send(hello[start:end])
        data = client.sock.recv(65536)
        assert data, "closed"
        coming.write(data)


def test_tls_comes_behind_the_header(secured: Secured) -> None:
    with guarded(secured.entry) as (proxy, origin):
        for _ in range(3):
            with SecureClient(proxy.port, secured.authority, TEXT) as client:
                assert client.get("/").status == 200
                assert client.get("/again").status == 200
            found = forwarded(origin)
            assert (found["X-Forwarded-For"], found["X-Forwarded-Proto"]) == ("192.0.2.7", "https")


def test_the_first_bytes_of_the_handshake_may_come_with_the_header(secured: Secured) -> None:
    header = binary()
    with guarded(secured.entry) as (proxy, _):
        for cuts in [[], [30], [28, 29], [33], [33, 100], [*range(1, 60)], *([100, 200, 300] for _ in range(20))]:
            wrapped, client = together(proxy.port, secured.authority, header, cuts)
            with client:
                assert (wrapped.version(), wrapped.selected_alpn_protocol()) == ("TLSv1.3", "http/1.1")


def test_clients_that_reset_at_any_point_leave_nothing(secured: Secured) -> None:
    data = TEXT + b"\x16\x03\x01\x01\x00\x01"
    with guarded(secured.entry) as (proxy, _):
        for size in [*range(0, len(data) + 1, 3), len(TEXT)] * 3:
            client = proxy.client()
            client.send(data[:size])
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sock.close()
        until(lambda: not proxy.call(lambda: proxy.board.watched), "nothing is left")
        with SecureClient(proxy.port, secured.authority, TEXT) as client:
            assert client.get("/").status == 200


def test_without_a_header_tls_begins_at_once(secured: Secured) -> None:
    for networks in ((), (ip_network("192.0.2.0/24"),)):
        with guarded(replace(secured.entry, proxy_protocol=networks)) as (proxy, origin):
            with SecureClient(proxy.port, secured.authority) as client:
                assert client.get("/").status == 200
                assert client.post("/", b"x" * 300_000).status == 200
            found = forwarded(origin)
            assert (found["X-Forwarded-For"], found["X-Forwarded-Proto"]) == ("127.0.0.1", "https")
            assert origin.bodies[-1] == b"x" * 300_000


def test_a_handshake_that_fails_leaves_nothing(secured: Secured) -> None:
    with guarded(secured.entry) as (proxy, origin):
        for data in (TEXT + GET, TEXT + b"\x16\x03\x01\x00\x05hello", TEXT):
            with proxy.client() as connection:
                connection.send(data)
                connection.sock.shutdown(socket.SHUT_WR)
                connection.closed()
        until(lambda: not proxy.call(lambda: proxy.board.watched), "nothing is left")
        assert origin.heads == []


def test_a_handshake_that_does_not_come_is_not_waited_for(secured: Secured) -> None:
    settings = replace(SETTINGS, timeouts=Timeouts(request_headers=0.3))
    with guarded(secured.entry, settings) as (proxy, _):
        with proxy.client() as connection:
            connection.send(TEXT + b"\x16\x03\x01")
            connection.closed()
        until(lambda: not proxy.call(lambda: proxy.board.watched), "nothing is left")


@pytest.mark.parametrize("header", [TEXT, b""], ids=["behind a header", "at once"])
def test_a_certificate_that_changes_is_shown_to_the_next(secured: Secured, header: bytes) -> None:
    entry = secured.entry if header else replace(secured.entry, proxy_protocol=())
    with guarded(entry) as (proxy, _), SecureClient(proxy.port, secured.authority, header) as client:
        secured.pair.replace(secured.authority.give("shop.test", rsa_key=True))
        proxy.call(proxy.entrances.look)
        assert client.get("/").status == 200
        with SecureClient(proxy.port, secured.authority, header) as late:
            shown = late.certificate
            assert shown != client.certificate
            assert late.get("/").status == 200
        secured.pair.key.write_text("nonsense")
        proxy.call(proxy.entrances.reload)
        with SecureClient(proxy.port, secured.authority, header) as last:
            assert last.certificate == shown


def test_a_worker_without_a_certificate_says_so(secured: Secured, tmp_path: Path) -> None:
    entry = replace(secured.entry, key=str(tmp_path / "none"))
    with pytest.raises(CertificateInvalid, match=r"none cannot be read: no such file or directory$"):
        Entrances(cast("Switchboard", None), entry)
