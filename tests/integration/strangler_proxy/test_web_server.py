"""A real web server before the proxy, by the configuration that is written about: nginx."""

from __future__ import annotations

import contextlib
import getpass
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
from tests.fixtures.guarded import guarded
from tests.fixtures.ports import free_port
from tests.fixtures.proxy import PATIENCE, SETTINGS, Client
from tests.fixtures.waiting import until

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed here")
PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "balancer.md"
CLIENT = "127.0.0.9"  # not the web server's own address
AROUND = """\
daemon off;
user {user};
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
access_log off;
client_body_temp_path {folder}/body;
proxy_temp_path {folder}/proxy;
fastcgi_temp_path {folder}/fastcgi;
uwsgi_temp_path {folder}/uwsgi;
scgi_temp_path {folder}/scgi;
{text}
}}
"""


@contextlib.contextmanager
def running(folder: Path, text: str) -> Iterator[int]:
    """Run nginx by a configuration that listens on 443, and yield the port that it has instead."""
    assert NGINX is not None
    port = free_port()
    config = folder / "nginx.conf"
    text = text.replace("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;")
    config.write_text(AROUND.format(user=getpass.getuser(), folder=folder, text=text))
    process = subprocess.Popen([NGINX, "-p", folder, "-e", folder / "error.log", "-c", config])
    try:
        until(lambda: process.poll() is not None or listens(port), "nginx listens")
        assert process.poll() is None, (folder / "error.log").read_text()
        yield port
    finally:
        process.terminate()
        process.wait(10)


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


class Visitor(Client):
    """A client with an address of its own, by TLS."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        plain = socket.create_connection(("127.0.0.1", port), PATIENCE, source_address=(CLIENT, 0))
        self.sock = context.wrap_socket(plain, server_hostname="shop.test")
        self._rest = b""


def test_it_says_who_its_clients_are_and_nobody_claims_to_be_another(tmp_path: Path) -> None:
    (text,) = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    authority = Authority(tmp_path)
    pair = authority.give("shop.test")
    door = tmp_path / "shop.sock"
    for written, here in (
        ("/etc/letsencrypt/live/shop.example/fullchain.pem", str(pair.certificate)),
        ("/etc/letsencrypt/live/shop.example/privkey.pem", str(pair.key)),
        ("/run/strangler/shop.sock", str(door)),
        ("shop.example", "shop.test"),
    ):
        assert written in text
        text = text.replace(written, here)
    settings = replace(SETTINGS, trusted=(ip_network("127.0.0.1/32"),))
    entry = Entry(addresses=("127.0.0.1:0", f"unix:{door}"))
    with (
        guarded(entry, settings) as (_, origin),
        running(tmp_path, text) as port,
        Visitor(port, client_context(authority.ca)) as visitor,
    ):
        claims = "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: http"
        assert visitor.get("/shown", *claims).body == b"monolith"
        head = origin.heads[-1].decode()
        assert re.findall(r"^X-Forwarded-For: (.*?)(?:, 127\.0\.0\.1)?\r$", head, flags=re.MULTILINE) == [CLIENT]
        assert re.findall(r"^X-Forwarded-Proto: (.*)\r$", head, flags=re.MULTILINE) == ["https"]
        assert visitor.post("/written", b"x" * 100_000).body == b"monolith"
