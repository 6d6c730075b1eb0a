"""After an upgrade bytes pass both ways as each side reads."""

from __future__ import annotations

from dataclasses import replace

from strangler.project.limits import Timeouts
from tests.fixtures.proxy import SETTINGS, Client, Origin, Served, proxied
from tests.fixtures.waiting import until

UPGRADE = b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n"
AGREED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
# More than the sockets' own buffers take on both connections together.
MUCH = 32 * 1024 * 1024


def echo(origin: Origin, served: Served) -> None:
    origin.heads.append(served.head())
    served.send(AGREED + b"welcome")
    while data := served.sock.recv(65536):
        served.send(data)


def opened(client: Client) -> None:
    client.send(UPGRADE)
    lines = [client.line()]
    while lines[-1] != b"\r\n":
        lines.append(client.line())
    assert lines == AGREED.splitlines(keepends=True)


def test_bytes_pass_both_ways() -> None:
    with proxied(echo) as (proxy, origin), proxy.client() as client:
        opened(client)
        served = Served(client.sock)
        assert served.exactly(7) == b"welcome"
        for size in (1, 1000, 100_000):
            client.send(b"x" * size)
            assert served.exactly(size) == b"x" * size
        assert b"Connection: Upgrade\r\nUpgrade: websocket\r\n" in origin.heads[0]
        assert proxy.call(lambda: proxy.board.tally.tunnels) == 1
        client.sock.close()
        until(lambda: proxy.call(lambda: proxy.board.tally.tunnels) == 0, "the tunnel ends")
        until(lambda: proxy.call(lambda: proxy.board.pool.endpoints[0].open) == 0, "its connection is counted out")
        requests = proxy.call(lambda: proxy.board.tally.requests())
        assert requests == {("", "monolith", "unrouted", "GET", 1): 1}


def test_what_a_client_sends_ahead_arrives() -> None:
    with proxied(echo) as (proxy, _), proxy.client() as client:
        client.send(UPGRADE + b"eager")
        while client.line() != b"\r\n":
            pass
        assert Served(client.sock).exactly(12) == b"welcomeeager"


def test_one_side_may_end_and_the_other_go_on() -> None:
    def script(origin: Origin, served: Served) -> None:
        served.head()
        served.send(AGREED)
        while served.sock.recv(65536):
            pass
        served.send(b"last words")

    with proxied(script) as (proxy, _), proxy.client() as client:
        opened(client)
        client.sock.shutdown(1)
        assert Served(client.sock).exactly(10) == b"last words"
        assert client.closed()


def test_a_slow_reader_stops_the_sender() -> None:
    def script(origin: Origin, served: Served) -> None:
        served.head()
        served.send(AGREED)
        served.sock.settimeout(0.5)
        try:
            for _ in range(MUCH // 65536):
                served.send(b"x" * 65536)
        except TimeoutError:
            origin.heads.append(b"stopped")

    with proxied(script) as (proxy, origin), proxy.client(receive_buffer=8192) as client:
        opened(client)
        until(lambda: origin.heads, "the sender is stopped")


def test_a_refused_upgrade_leaves_plain_http() -> None:
    with proxied() as (proxy, _), proxy.client() as client:
        client.send(UPGRADE + b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n")
        assert [client.response().body, client.response().body] == [b"monolith"] * 2
        assert client.get("/after").status == 200


def test_a_silent_tunnel_ends() -> None:
    hasty = replace(SETTINGS, timeouts=Timeouts(stream_idle=0.3))
    with proxied(echo, hasty) as (proxy, _), proxy.client() as client:
        opened(client)
        client.closed()
