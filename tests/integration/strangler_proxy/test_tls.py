"""TLS towards clients and stacks, over real connections; certificates that change while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
import uvloop

from strangler_proxy.listening import accept
from strangler_proxy.settings import StackTls
from strangler_proxy.tls import Certificate, CertificateInvalid, Proof, client_context, server_context
from tests.fixtures.certificates import Authority, Pair

PATIENCE = 10.0


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def pair(authority: Authority) -> Pair:
    return authority.give("shop.test")


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


@contextlib.contextmanager
def served(context: ssl.SSLContext) -> Iterator[int]:
    """Echo what comes over TLS, on a loop in a thread, and yield the port."""
    ready, ports = threading.Event(), list[int]()
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        stop = asyncio.Event()
        loops.append((asyncio.get_running_loop(), stop))
        ports.append(listener.getsockname()[1])
        server = await accept(Echo, listener, context)
        ready.set()
        await stop.wait()
        server.close()

    thread = threading.Thread(target=lambda: uvloop.run(serve()))
    thread.start()
    assert ready.wait(PATIENCE)
    try:
        yield ports[0]
    finally:
        loop, stop = loops[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE)


@contextlib.contextmanager
def connected(
    port: int, context: ssl.SSLContext, name: str | None = "shop.test", session: ssl.SSLSession | None = None
) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection(("127.0.0.1", port), PATIENCE) as sock,
        context.wrap_socket(sock, server_hostname=name, session=session) as wrapped,
    ):
        wrapped.sendall(b"hello")
        assert wrapped.recv(5) == b"hello"
        yield wrapped


def shown(port: int, ca: Path, name: str | None = "shop.test") -> bytes:
    """Return the certificate that a client is shown."""
    context = client_context(ca)
    context.check_hostname = name is not None
    with connected(port, context, name) as wrapped:
        found = wrapped.getpeercert(binary_form=True)
        assert found is not None
        return found


def der(pair: Pair) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pair.certificate.read_text())


# --- towards clients ---


def test_clients_get_tls_and_http_1_1(authority: Authority, pair: Pair) -> None:
    with served(server_context(pair.certificate, pair.key)) as port:
        context = client_context(authority.ca)
        context.set_alpn_protocols(["h2", "http/1.1"])
        with connected(port, context) as wrapped:
            assert (wrapped.version(), wrapped.selected_alpn_protocol()) == ("TLSv1.3", "http/1.1")
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with connected(port, context) as wrapped:
            assert wrapped.version() == "TLSv1.2"


@pytest.mark.filterwarnings("ignore:.*TLSv1_1 is deprecated:DeprecationWarning")
def test_nothing_older_is_spoken(authority: Authority, pair: Pair) -> None:
    with served(server_context(pair.certificate, pair.key)) as port:
        context = client_context(authority.ca)
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionResetError)), connected(port, context):
            pass
        assert shown(port, authority.ca) == der(pair)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_who_comes_back_shakes_hands_shortly(authority: Authority, pair: Pair, version: ssl.TLSVersion) -> None:
    certificate = Certificate.for_clients(pair.certificate, pair.key)
    with served(certificate.listening()) as port:
        context = client_context(authority.ca)
        context.minimum_version = context.maximum_version = version
        with connected(port, context) as first:
            assert not first.session_reused
            session = first.session
        with connected(port, context, session=session) as second:
            assert second.session_reused


@pytest.mark.parametrize("name", ["shop.test", None])
def test_a_certificate_that_changes_is_shown_from_then_on(authority: Authority, pair: Pair, name: str | None) -> None:
    certificate = Certificate.for_clients(pair.certificate, pair.key)
    with served(certificate.listening()) as port:
        assert shown(port, authority.ca, name) == der(pair)
        assert not certificate.look()
        pair.replace(authority.give("shop.test", rsa_key=True))
        assert certificate.look()
        assert shown(port, authority.ca, name) == der(pair)
        assert not certificate.look()


def test_connections_outlive_the_certificate_that_they_began_with(authority: Authority, pair: Pair) -> None:
    certificate = Certificate.for_clients(pair.certificate, pair.key)
    with (
        served(certificate.listening()) as port,
        connected(port, client_context(authority.ca)) as wrapped,
    ):
        pair.replace(authority.give("shop.test"))
        assert certificate.reload()
        wrapped.sendall(b"still")
        assert wrapped.recv(5) == b"still"


def test_a_key_that_does_not_fit_changes_nothing_and_is_told_once(
    authority: Authority, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    certificate = Certificate.for_clients(pair.certificate, pair.key)
    before, key = der(pair), pair.key.read_bytes()
    with served(certificate.listening()) as port:
        pair.key.write_bytes(authority.give("shop.test").key.read_bytes())
        assert [certificate.look() for _ in range(3)] == [False] * 3
        assert shown(port, authority.ca) == before
        assert [record.getMessage() for record in caplog.records] == [
            f"the certificate in force is kept: {pair.key} is not the key of {pair.certificate}"
        ]
        assert not certificate.reload(), "asked for, it is read again"
        assert len(caplog.records) == 2
        pair.key.write_bytes(key)
        assert certificate.look()
        assert shown(port, authority.ca) == before
    assert "PRIVATE" not in caplog.text
    assert key.split()[3].decode() not in caplog.text


def test_a_file_that_goes_away_and_comes_back(
    authority: Authority, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    certificate = Certificate.for_clients(pair.certificate, pair.key)
    content = pair.certificate.read_bytes()
    pair.certificate.unlink()
    assert not certificate.look()
    assert not certificate.look()
    assert [record.getMessage() for record in caplog.records] == [
        f"the certificate in force is kept: {pair.certificate} cannot be read: no such file or directory"
    ]
    pair.certificate.write_bytes(content)
    assert certificate.look()


def test_a_link_that_is_turned_is_a_change(authority: Authority, pair: Pair, tmp_path: Path) -> None:
    link = Pair(tmp_path / "live.pem", tmp_path / "live.key")
    other = authority.give("shop.test")
    for file, target in ((link.certificate, pair.certificate), (link.key, pair.key)):
        file.symlink_to(target)
    certificate = Certificate.for_clients(link.certificate, link.key)
    for file, target in ((link.certificate, other.certificate), (link.key, other.key)):
        file.unlink()
        file.symlink_to(target)
    with served(certificate.listening()) as port:
        assert certificate.look()
        assert shown(port, authority.ca) == der(other)


def test_what_cannot_be_used_is_told_without_its_content(authority: Authority, pair: Pair, tmp_path: Path) -> None:
    locked = authority.give("shop.test", password=b"open sesame")
    nonsense = tmp_path / "nonsense"
    nonsense.write_text("-----BEGIN EC PRIVATE KEY-----\nMARKER\n-----END EC PRIVATE KEY-----\n")
    missing = tmp_path / "missing"
    cases = [
        (
            pair.certificate,
            locked.key,
            f"{pair.certificate} holds no certificate, or {locked.key} no key without password",
        ),
        (pair.certificate, nonsense, f"{pair.certificate} holds no certificate, or {nonsense} no key without password"),
        (nonsense, pair.key, f"{nonsense} holds no certificate, or {pair.key} no key without password"),
        (pair.certificate, missing, f"{missing} cannot be read: no such file or directory"),
        (missing, pair.key, f"{missing} cannot be read: no such file or directory"),
        (pair.certificate, tmp_path, f"{tmp_path} cannot be read: is a directory"),
    ]
    for certificate, key, message in cases:
        with pytest.raises(CertificateInvalid) as invalid:
            server_context(certificate, key)
        assert str(invalid.value) == message
    with pytest.raises(CertificateInvalid, match=f"^{nonsense} holds no certificate of an authority$"):
        client_context(nonsense)
    with pytest.raises(CertificateInvalid, match=f"^{missing} cannot be read: no such file or directory$"):
        client_context(missing)


def test_a_repr_names_files_alone(pair: Pair) -> None:
    certificate = Certificate.for_clients(pair.certificate, pair.key)
    assert repr(certificate) == f"<Certificate {pair.certificate}, {pair.key}>"


# --- towards stacks ---


async def ask(port: int, context: ssl.SSLContext, name: str) -> str:
    """Ask as the pool does, and return the protocol that was agreed on."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    agreed: ssl.SSLObject = writer.get_extra_info("ssl_object")
    try:
        writer.write(b"hello")
        assert await asyncio.wait_for(reader.readexactly(5), PATIENCE) == b"hello"
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await asyncio.wait_for(writer.wait_closed(), PATIENCE)
    return f"{agreed.version()} {agreed.selected_alpn_protocol()}"


def test_a_stack_is_believed_by_its_authority_and_name(authority: Authority, pair: Pair) -> None:
    with served(server_context(pair.certificate, pair.key)) as port:
        assert uvloop.run(ask(port, client_context(authority.ca), "shop.test")) == "TLSv1.3 http/1.1"


def test_a_stack_may_be_named_by_its_address(authority: Authority) -> None:
    pair = authority.give("127.0.0.1")
    with served(server_context(pair.certificate, pair.key)) as port:
        assert uvloop.run(ask(port, client_context(authority.ca), "127.0.0.1")) == "TLSv1.3 http/1.1"


def test_another_name_is_another_stack(authority: Authority, pair: Pair) -> None:
    with served(server_context(pair.certificate, pair.key)) as port:
        for name in ("other.test", "127.0.0.1"):
            with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
                uvloop.run(ask(port, client_context(authority.ca), name))


def test_another_authority_proves_nothing(authority: Authority, pair: Pair, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other")
    with served(server_context(pair.certificate, pair.key)) as port:
        for context in (client_context(other.ca), client_context()):
            with pytest.raises(ssl.SSLCertVerificationError):
                uvloop.run(ask(port, context, "shop.test"))


def test_a_stack_that_asks_who_is_there_is_told(authority: Authority, pair: Pair) -> None:
    context = server_context(pair.certificate, pair.key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.ca)
    own = authority.give("strangler-proxy")
    with served(context) as port:
        known = Certificate.for_stacks(authority.ca, own.certificate, own.key)
        assert uvloop.run(ask(port, known.current, "shop.test")) == "TLSv1.3 http/1.1"
        own.replace(authority.give("strangler-proxy"))
        assert known.look()
        assert uvloop.run(ask(port, known.current, "shop.test")) == "TLSv1.3 http/1.1"
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            uvloop.run(ask(port, client_context(authority.ca), "shop.test"))


def test_proof_is_by_the_files_as_they_are(authority: Authority, pair: Pair, tmp_path: Path) -> None:
    own = authority.give("strangler-proxy")
    proof = Proof(StackTls(ca=str(authority.ca), certificate=str(own.certificate), key=str(own.key)))
    with served(server_context(pair.certificate, pair.key)) as port:
        assert uvloop.run(ask(port, proof(), "shop.test")) == "TLSv1.3 http/1.1"
        first = proof()
        proof.look()
        assert proof() is first
        authority.ca.write_bytes(Authority(tmp_path, "other").ca.read_bytes())
        proof.look()
        assert proof() is not first
        with pytest.raises(ssl.SSLCertVerificationError):
            uvloop.run(ask(port, proof(), "shop.test"))
        proof.reload()
        assert proof() is not first


def test_proof_by_the_systems_authorities_is_made_when_it_is_asked_for() -> None:
    proof = Proof(StackTls())
    proof.look()
    proof.reload()
    assert repr(proof) == "<Proof None>"
    assert proof() is proof()


def test_proof_by_a_file_that_is_not_there_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(CertificateInvalid, match=r"none cannot be read: no such file or directory$"):
        Proof(StackTls(ca=str(tmp_path / "none")))
