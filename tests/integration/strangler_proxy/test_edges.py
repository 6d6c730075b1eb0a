"""The proxy as it is run, with TLS and Unix sockets on both sides."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import stat
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from strangler.routing.table import seal
from strangler_proxy.settings import PIPE, Entry, Settings, StackTls
from strangler_proxy.tls import client_context, server_context
from tests.fixtures.certificates import Authority
from tests.fixtures.proxy import PATIENCE, Client, Origin, ProxyProcess, Served, keep_answering, routing_table
from tests.fixtures.waiting import until

CODE = """
import json
from strangler_proxy import main
from strangler_proxy.settings import Settings
sys.exit(main._run(Settings.from_json(json.loads(sys.argv[1])), "127.0.0.1:0", int(sys.argv[2])))
"""


class Edged(ProxyProcess):
    """A proxy with any settings before one endpoint; ``places`` are those that it says to listen on."""

    def __init__(self, endpoint: str, entry: Entry, stacks: StackTls | None = None, workers: int = 1) -> None:
        table = seal(routing_table(endpoint), PIPE).decode()
        settings = Settings(worker="", table=table, entry=entry, stack_tls=stacks or StackTls())
        super().__init__(CODE, json.dumps(settings.to_json()), str(workers))

    def __enter__(self) -> Edged:
        super().__enter__()
        self.places = re.findall(r"[a-z]+:/[^ ,)]+", self.said)
        if self.places:
            self.admin = int(self.places.pop().rpartition(":")[2])
        return self

    @property
    def secure_port(self) -> int:
        (place,) = (each for each in self.places if each.startswith("https:"))
        return int(place.rpartition(":")[2])


class SecureClient(Client):
    def __init__(self, port: int, authority: Authority) -> None:
        super().__init__(port)
        self.sock = client_context(authority.ca).wrap_socket(self.sock, server_hostname="shop.test")


class UnixClient(Client):
    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(path))
        self._rest = b""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def secure(authority: Authority) -> Entry:
    pair = authority.give("shop.test")
    return Entry(addresses=("tls:127.0.0.1:0",), certificate=str(pair.certificate), key=str(pair.key))


def test_one_proxy_listens_in_every_way(tmp_path: Path, authority: Authority, secure: Entry) -> None:
    path = tmp_path / "proxy.sock"
    entry = replace(secure, addresses=("127.0.0.1:0", "tls:127.0.0.1:0", f"unix:{path}"), mode=0o600)
    with Origin() as origin, Edged(origin.url, entry, workers=2) as proxy:
        assert [place.partition(":")[0] for place in proxy.places] == ["http", "https", "unix"]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for _ in range(8):
            with Client(int(proxy.places[0].rpartition(":")[2])) as client:
                assert client.get("/").body == b"monolith"
            with SecureClient(proxy.secure_port, authority) as client:
                assert client.get("/").body == b"monolith"
            assert b"X-Forwarded-Proto: https" in origin.heads[-1]
            with UnixClient(path) as client:
                assert client.get("/").body == b"monolith"
        proxy.process.send_signal(signal.SIGTERM)
        assert proxy.end() == 0
        assert proxy.errors == ""
        assert not path.exists()


def test_a_unix_socket_survives_its_workers(tmp_path: Path) -> None:
    path = tmp_path / "proxy.sock"
    entry = Entry(addresses=("127.0.0.1:0", f"unix:{path}"))
    with Origin() as origin, Edged(origin.url, entry, workers=2) as proxy:
        for pid in proxy.workers():
            os.kill(pid, signal.SIGKILL)
        with UnixClient(path) as client:
            assert client.get("/").body == b"monolith"


def test_an_answer_that_closes_ends_tls_as_well(authority: Authority, secure: Entry) -> None:
    with Origin() as origin, Edged(origin.url, secure) as proxy:
        for request, status in (
            (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 200),
            (b"no request\r\n\r\n", 400),
        ):
            with SecureClient(proxy.secure_port, authority) as client:
                client.send(request)
                assert client.response().status == status
                assert client.sock.recv(1) == b""
        proxy.process.send_signal(signal.SIGTERM)
        proxy.end()
        assert proxy.errors == ""


def test_a_client_of_tls_that_ends_while_it_is_answered_is_no_error(authority: Authority, secure: Entry) -> None:
    def script(origin: Origin, served: Served) -> None:
        origin.heads.append(served.head())
        served.exactly(1)

    with Origin(script) as origin, Edged(origin.url, secure) as proxy:
        with SecureClient(proxy.secure_port, authority) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            until(lambda: origin.heads, "it is asked")
            assert isinstance(client.sock, ssl.SSLSocket)
            client.sock.settimeout(PATIENCE)
            client.sock.unwrap().close()
        proxy.process.send_signal(signal.SIGTERM)
        proxy.end()
        assert proxy.errors == ""


def test_a_tunnel_through_tls(authority: Authority, secure: Entry) -> None:
    def script(origin: Origin, served: Served) -> None:
        served.head()
        served.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        while data := served.sock.recv(65536):
            served.send(data.upper())

    with Origin(script) as origin, Edged(origin.url, secure) as proxy:
        with SecureClient(proxy.secure_port, authority) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
            while client.line() != b"\r\n":
                pass
            client.send(b"hello")
            assert client.sock.recv(100) == b"HELLO"
        proxy.process.send_signal(signal.SIGTERM)
        proxy.end()
        assert proxy.errors == ""


def test_it_shows_another_certificate_by_itself(authority: Authority, secure: Entry) -> None:
    with Origin() as origin, Edged(origin.url, secure) as proxy:

        def shown() -> bytes:
            with SecureClient(proxy.secure_port, authority) as client:
                assert isinstance(client.sock, ssl.SSLSocket)
                return client.sock.getpeercert(binary_form=True) or b""

        for number in range(2):
            before = shown()
            other = authority.give("shop.test", rsa_key=number == 0)
            Path(secure.certificate).write_bytes(other.certificate.read_bytes())
            Path(secure.key).write_bytes(other.key.read_bytes())
            until(lambda: shown() != before, "another is shown")  # noqa: B023 -- called here
        before = shown()
        Path(secure.key).write_text("nonsense")
        (pid,) = proxy.workers()
        os.kill(pid, signal.SIGHUP)
        for _ in range(20):
            assert shown() == before
        proxy.process.send_signal(signal.SIGTERM)
        proxy.end()
        (line,) = set(proxy.errors.splitlines())
        assert line.endswith(f"{secure.certificate} holds no certificate, or {secure.key} no key without password")


def test_files_that_cannot_be_used_are_said_before_anything_starts(secure: Entry, tmp_path: Path) -> None:
    with Edged("http://127.0.0.1:1", replace(secure, key=str(tmp_path / "none"))) as proxy:
        assert proxy.end() == 1
        assert proxy.errors == f"strangler proxy: {tmp_path}/none cannot be read: no such file or directory\n"


def test_a_balancer_introduces_its_clients(authority: Authority, secure: Entry) -> None:
    entry = replace(secure, proxy_protocol=(ip_network("127.0.0.0/8"),))
    with Origin() as origin, Edged(origin.url, entry) as proxy, Client(proxy.secure_port) as client:
        client.send(b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 443\r\n")
        client.sock = client_context(authority.ca).wrap_socket(client.sock, server_hostname="shop.test")
        assert client.get("/").status == 200
        assert b"X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n" in origin.heads[0]


# --- stacks ---


class SecureOrigin(Origin):
    """An origin that speaks TLS, and wants to know who asks."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        super().__init__(keep_answering)

    def _serve(self, sock: socket.socket) -> None:
        try:
            with self.context.wrap_socket(sock, server_side=True) as wrapped:
                super()._serve(wrapped)
        except OSError:
            sock.close()


def test_a_stack_behind_mutual_tls(authority: Authority) -> None:
    pair, own = authority.give("localhost"), authority.give("strangler-proxy")
    context = server_context(pair.certificate, pair.key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.ca)
    stacks = StackTls(ca=str(authority.ca), certificate=str(own.certificate), key=str(own.key))
    entry = Entry(addresses=("127.0.0.1:0",))
    with SecureOrigin(context) as origin:
        endpoint = f"https://localhost:{origin.port}"
        with Edged(endpoint, entry, stacks) as proxy, Client(proxy.port) as client:
            for body in (b"", b"x" * 300_000):
                assert client.post("/", body).body == b"monolith"
            assert b"Host: shop.test\r\n" in origin.heads[0]
            assert origin.bodies[1] == b"x" * 300_000
        elsewhere = f"https://127.0.0.1:{origin.port}"
        for asked, other, why in (
            (endpoint, StackTls(ca=str(authority.ca)), "certificate required"),
            (endpoint, StackTls(), "self-signed certificate in certificate chain"),
            (elsewhere, stacks, "ip address mismatch, certificate is not valid for '127.0.0.1'."),
        ):
            with Edged(asked, entry, other) as proxy, Client(proxy.port) as client:
                for _ in range(3):
                    assert client.get("/").status in (502, 503)
            assert proxy.errors.count("cannot be asked by TLS") <= 2, "one for the name, one for what it stands for"
            assert f"{asked} cannot be asked by TLS: " in proxy.errors
            assert why in proxy.errors


def test_a_stack_behind_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "stack.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(PATIENCE)
        with Edged(f"unix:{path}", Entry(addresses=("127.0.0.1:0",))) as proxy, Client(proxy.port) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n")
            sock, _ = listener.accept()
            with sock:
                sock.settimeout(PATIENCE)
                served = Served(sock)
                assert b"Host: shop.test\r\n" in served.head()
                served.answer(b"through a file")
                assert client.response().body == b"through a file"
