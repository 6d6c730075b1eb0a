"""Endpoints of every kind are tried as the proxy will."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from strangler.check import check
from strangler.project import load
from tests.fixtures.certificates import Authority
from tests.fixtures.project_files import ENV, STRANGLER, write

PATIENCE = 10.0


@contextlib.contextmanager
def answering(listener: socket.socket, context: ssl.SSLContext | None = None) -> Iterator[None]:
    """Answer each connection once, in a thread."""

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:  # shut down
                return
            sock.settimeout(PATIENCE)
            with contextlib.suppress(OSError), sock if context is None else context.wrap_socket(sock, True) as stream:
                stream.recv(65536)
                stream.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

    thread = threading.Thread(target=serve)
    with listener:
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE)


def found(folder: Path, endpoint: str, tls: str = "") -> str:
    """Return what is told of the monolith's endpoint."""
    top = STRANGLER.replace("http://127.0.0.1:8001", endpoint) + (f"[proxy.tls]\n{tls}" if tls else "")
    findings = check(load(write(folder, {"strangler.toml": top}), ENV))
    (finding,) = (each for each in findings if each.subject == f"monolith at {endpoint}")
    return finding.wrong or finding.detail


# httpcore leaves a Unix socket that could not be connected to the collector.
@pytest.mark.filterwarnings("ignore:.*socket.socket:pytest.PytestUnraisableExceptionWarning")
def test_a_unix_socket_that_is_not_there(tmp_path: Path) -> None:
    told = found(tmp_path, f"unix:{tmp_path}/shop.sock")
    assert told.startswith("no HTTP answer ([Errno 2] No such file or directory); start it")


def test_a_unix_socket(tmp_path: Path) -> None:
    endpoint = f"unix:{tmp_path}/shop.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{tmp_path}/shop.sock")
    listener.listen()
    with answering(listener):
        assert found(tmp_path, endpoint) == "answers (204)"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_tls_by_the_proxys_own_files(tmp_path: Path, authority: Authority) -> None:
    pair, own = authority.give("127.0.0.1"), authority.give("strangler-proxy")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(pair.certificate, pair.key)
    listener = socket.create_server(("127.0.0.1", 0))
    endpoint = f"https://127.0.0.1:{listener.getsockname()[1]}"
    shown = f'client_certificate = "{own.certificate.name}"\nclient_key = "{own.key.name}"\n'
    with answering(listener, context):
        assert found(tmp_path, endpoint, f'ca = "authority.pem"\n{shown}') == "answers (204)"
        assert "CERTIFICATE_VERIFY_FAILED" in found(tmp_path, endpoint)
        told = found(tmp_path, endpoint, f'ca = "none.pem"\n{shown}')
    assert told.startswith(f"one of {tmp_path}/none.pem, ")
    assert told.endswith("; mend [proxy.tls] in strangler.toml")
