"""A real balancer before the proxy: HAProxy, who has written down the PROXY protocol."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from strangler_proxy.settings import Entry
from strangler_proxy.tls import client_context
from tests.fixtures.certificates import Authority
from tests.fixtures.guarded import forwarded, guarded
from tests.fixtures.ports import free_port
from tests.fixtures.proxy import PATIENCE, SETTINGS, Client, Origin, keep_answering
from tests.fixtures.waiting import until

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
pytestmark = pytest.mark.skipif(HAPROXY is None, reason="HAProxy is not installed here")

BALANCERS = (ip_network("127.0.0.1/32"),)
CLIENT = "127.0.0.9"  # not the balancer's own address


CONFIG = """\
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s
listen shop
    bind :443 {bind}
    server proxy {server}
"""


@contextlib.contextmanager
def balancer(folder: Path, bind: str, server: str) -> Iterator[int]:
    """Run HAProxy with one frontend and one server, and yield its port."""
    with running(folder, CONFIG.format(bind=bind, server=server)) as port:
        yield port


@contextlib.contextmanager
def running(folder: Path, text: str) -> Iterator[int]:
    """Run HAProxy by a configuration that binds :443, and yield the port that it has instead."""
    assert HAPROXY is not None
    port = free_port()
    config = folder / "haproxy.cfg"
    config.write_text(text.replace(" :443 ", f" 127.0.0.1:{port} "))
    with (folder / "haproxy.log").open("wb") as log:
        process = subprocess.Popen([HAPROXY, "-db", "-f", config], stdout=log, stderr=log)
        try:
            until(lambda: process.poll() is not None or listens(port), "HAProxy listens")
            assert process.poll() is None, (folder / "haproxy.log").read_text()
            yield port
        finally:
            process.kill()
            process.wait()


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


class Visitor(Client):
    """A client with an address of its own."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), PATIENCE, source_address=(CLIENT, 0))
        if context is not None:
            self.sock = context.wrap_socket(self.sock, server_hostname="shop.test")
        self._rest = b""


def told(origin: Origin) -> tuple[str, str]:
    found = forwarded(origin)
    return found["X-Forwarded-For"], found["X-Forwarded-Proto"]


@pytest.mark.parametrize(
    "options",
    [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options crc32c",
        "send-proxy-v2 proxy-v2-options authority",
    ],
)
def test_it_says_who_its_clients_are(options: str, tmp_path: Path) -> None:
    entry = Entry(addresses=("127.0.0.1:0",), proxy_protocol=BALANCERS)
    with (
        guarded(entry) as (proxy, origin),
        balancer(tmp_path, "", f"127.0.0.1:{proxy.port} {options}") as port,
        Visitor(port) as visitor,
    ):
        assert visitor.get("/").body == b"monolith"
        assert told(origin) == (CLIENT, "http")


def test_it_says_that_its_clients_came_by_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.give("shop.test")
    both = tmp_path / "both.pem"
    both.write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())
    entry = Entry(addresses=("127.0.0.1:0",), proxy_protocol=BALANCERS)
    options = "send-proxy-v2-ssl-cn proxy-v2-options ssl,cert-cn,ssl-cipher,authority,crc32c"
    with (
        guarded(entry) as (proxy, origin),
        balancer(tmp_path, f"ssl crt {both}", f"127.0.0.1:{proxy.port} {options}") as port,
        Visitor(port, client_context(authority.ca)) as visitor,
    ):
        assert visitor.get("/").body == b"monolith"
        assert told(origin) == (CLIENT, "https")


@pytest.mark.parametrize("options", ["send-proxy", "send-proxy-v2 proxy-v2-options crc32c"])
def test_it_speaks_tls_behind_its_header(options: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.give("shop.test")
    entry = Entry(
        addresses=("tls:127.0.0.1:0",),
        proxy_protocol=BALANCERS,
        certificate=str(pair.certificate),
        key=str(pair.key),
    )
    proof = f"ssl verify required ca-file {authority.ca} sni str(shop.test) verifyhost shop.test"
    with (
        guarded(entry) as (proxy, origin),
        balancer(tmp_path, "", f"127.0.0.1:{proxy.port} {proof} {options}") as port,
        Visitor(port) as visitor,
    ):
        assert visitor.get("/").body == b"monolith"
        assert told(origin) == (CLIENT, "https")


@pytest.mark.parametrize("options", ["send-proxy-v2", "send-proxy"])
def test_its_health_checks_are_its_own(options: str, tmp_path: Path) -> None:
    entry = Entry(addresses=("127.0.0.1:0",), proxy_protocol=BALANCERS)
    check = "check check-send-proxy inter 100ms\n    option httpchk GET /health"
    with (
        guarded(entry) as (proxy, origin),
        balancer(tmp_path, "", f"127.0.0.1:{proxy.port} {options} {check}"),
    ):
        until(lambda: origin.heads, "it has asked")
        assert origin.heads[0].startswith(b"GET /health ")
        assert told(origin) == ("127.0.0.1", "http")


def test_the_configuration_that_is_written_about_works(tmp_path: Path) -> None:
    page = Path(__file__).parents[3] / "docs" / "how-to" / "balancer.md"
    (text,) = re.findall(r"```haproxy\n(.*?)```", page.read_text(), flags=re.DOTALL)
    authority = Authority(tmp_path)
    pair = authority.give("shop.test")
    both = tmp_path / "both.pem"
    both.write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())
    entry = Entry(addresses=("127.0.0.1:0",), proxy_protocol=BALANCERS)
    with guarded(entry) as (proxy, origin):
        for written, here in (("/etc/haproxy/shop.pem", str(both)), ("10.0.1.2:8000", f"127.0.0.1:{proxy.port}")):
            assert written in text
            text = text.replace(written, here)
        with running(tmp_path, text) as port, Visitor(port, client_context(authority.ca)) as visitor:
            assert visitor.get("/shown").body == b"monolith"
            (head,) = (each for each in origin.heads if each.startswith(b"GET /shown "))
            assert f"X-Forwarded-For: {CLIENT}\r\nX-Forwarded-Proto: https\r\n".encode() in head


def test_the_balancer_of_the_containers_production_says_who_its_clients_are_and_believes_none_of_them(
    tmp_path: Path,
) -> None:
    """As it stands but for its certificate, its port and its servers, which only the containers' network can name."""
    text = (Path(__file__).parents[3] / "compose" / "production" / "haproxy.cfg").read_text()
    authority = Authority(tmp_path)
    pair = authority.give("shop.test")
    both = tmp_path / "both.pem"
    both.write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())
    entry = Entry(addresses=("127.0.0.1:0",))
    with (
        Origin(keep_answering) as healthy,
        guarded(entry, replace(SETTINGS, trusted=BALANCERS)) as (proxy, origin),
    ):
        for written, here in (
            ("/run/secrets/shop_pem", str(both)),
            ("proxy:8000 check port 8900", f"127.0.0.1:{proxy.port} check port {healthy.url.rpartition(':')[2]}"),
            ("parse-resolv-conf", "nameserver engine 127.0.0.1:53"),
            (" :8443 ", " :443 "),
        ):
            assert written in text
            text = text.replace(written, here)
        forged = ("X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: http")
        with running(tmp_path, text) as port, Visitor(port, client_context(authority.ca)) as visitor:
            until(lambda: healthy.heads, "it has asked whether the proxy is ready")
            assert healthy.heads[0].startswith(b"GET /health/ready ")
            assert visitor.get("/", *forged).body == b"monolith"
            assert told(origin) == (f"{CLIENT}, 127.0.0.1", "https")  # NUM_PROXIES of the monolith is 2
