"""TLS on both sides: towards clients, and towards stacks.

Clients get TLS 1.2 or newer (RFC 9325 section 3.1.1) and HTTP/1.1; with OpenSSL's session tickets, which each worker
makes with a key of its own, so a client that comes back to another worker shakes hands in full. A certificate is read
again when its files change. Contexts are not changed but made anew: in one that held an RSA certificate, an ECDSA one
would be put beside it, and some clients would go on being shown the first.

A stack must prove by a certificate that it is the host that its endpoint names. There is no way to leave that out: who
has certificates of an authority of their own names its file.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from strangler_proxy.errors import ProxyError
from strangler_proxy.settings import Entry, StackTls

_LOG: Final = logging.getLogger("strangler_proxy")
_ALPN: Final = ["http/1.1"]


class CertificateInvalid(ProxyError):
    """A certificate or its key cannot be used. Put a pair there that belongs together, as PEM, without password."""


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return what clients are received with. ``certificate`` holds the whole chain. Raises ``CertificateInvalid``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context)
    context.options |= ssl.OP_NO_RENEGOTIATION
    _show(context, certificate, key)
    return context


def client_context(ca: Path | None = None, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """Return what stacks are asked with, to be used with their host's name. Raises ``CertificateInvalid``.

    They are believed by the authorities in ``ca``, or by the system's. ``certificate`` and ``key`` are shown to those
    that ask for one (mTLS).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _harden(context)
    if ca is None:
        context.load_default_certs()
    else:
        _believe(context, ca)
    if certificate is not None and key is not None:
        _show(context, certificate, key)
    return context


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(_ALPN)


def _believe(context: ssl.SSLContext, ca: Path) -> None:
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError as exc:
        raise CertificateInvalid(f"{ca} holds no certificate of an authority") from exc
    except OSError as exc:
        raise CertificateInvalid(f"{ca} cannot be read: {_reason(exc)}") from exc


def _show(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        # Without a password of ours OpenSSL would ask the terminal for one.
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as exc:
        raise CertificateInvalid(_unfit(exc, certificate, key)) from exc
    except OSError as exc:
        raise CertificateInvalid(f"{_unreadable(certificate, key)} cannot be read: {_reason(exc)}") from exc


def _unfit(exc: ssl.SSLError, certificate: Path, key: Path) -> str:
    if exc.reason == "KEY_VALUES_MISMATCH":
        return f"{key} is not the key of {certificate}"
    return f"{certificate} holds no certificate, or {key} no key without password"


def _unreadable(*files: Path) -> str:
    """Return which of ``files`` it was: Python does not tell."""
    for file in files:
        try:
            file.open("rb").close()
        except OSError:
            return str(file)
    return " or ".join(map(str, files))


def _reason(exc: OSError) -> str:
    return (exc.strerror or str(exc)).lower()


class Certificate:
    """A context made of files, and made anew when they change; from files that do not fit none is made.

    ``current`` is the one in force: what uses it asks again for each connection.
    """

    def __init__(self, make: Callable[[], ssl.SSLContext], files: tuple[Path, ...]) -> None:
        self._make = make
        self._files = files
        self._seen = self._look()
        self.current = make()

    def __repr__(self) -> str:
        return f"<Certificate {', '.join(map(str, self._files))}>"

    @classmethod
    def for_clients(cls, certificate: Path, key: Path) -> Certificate:
        """Return what the proxy shows to clients. Raises ``CertificateInvalid``."""
        return cls(partial(server_context, certificate, key), (certificate, key))

    @classmethod
    def for_stacks(
        cls, ca: Path | None = None, certificate: Path | None = None, key: Path | None = None
    ) -> Certificate:
        """Return what the proxy believes stacks by, and shows to them. Raises ``CertificateInvalid``."""
        files = tuple(file for file in (ca, certificate, key) if file is not None)
        return cls(partial(client_context, ca, certificate, key), files)

    def listening(self) -> ssl.SSLContext:
        """Return a context for a server that lives on: each handshake in it is given the one in force."""
        context = self._make()

        def give(connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
            connection.context = self.current

        # OpenSSL calls it for clients that name no server, too.
        context.sni_callback = give
        return context

    def look(self) -> bool:
        """Reload if a file has changed since the last time, and return whether there is another one in force.

        A pair is written one file after the other: between them it does not fit, and after them it is read again.
        """
        return self._look() != self._seen and self.reload()

    def reload(self) -> bool:
        """Read the files again, and return whether they fit; if not, that is logged, and nothing changes."""
        self._seen = self._look()
        try:
            self.current = self._make()
        except CertificateInvalid as exc:
            _LOG.error("the certificate in force is kept: %s", exc)
            return False
        return True

    def _look(self) -> tuple[tuple[int, ...] | None, ...]:
        return tuple(map(_identity, self._files))


class Proof:
    """What stacks are proven by: called for each new connection to one, it returns the context in force.

    The system's authorities take 20 ms and a megabyte to read, so without files of its own it is made when the first
    stack is asked by TLS. Raises ``CertificateInvalid`` for files that cannot be used.
    """

    def __init__(self, files: StackTls) -> None:
        self._files = files
        self._certificate = self._made() if files != StackTls() else None

    def __call__(self) -> ssl.SSLContext:
        if self._certificate is None:
            self._certificate = self._made()
        return self._certificate.current

    def __repr__(self) -> str:
        return f"<Proof {self._certificate!r}>"

    def look(self) -> None:
        """Take over files that have changed; to be called every second or so."""
        if self._certificate is not None:
            self._certificate.look()

    def reload(self) -> None:
        """Read the files again, changed or not."""
        if self._certificate is not None:
            self._certificate.reload()

    def _made(self) -> Certificate:
        files = self._files
        return Certificate.for_stacks(_path(files.ca), _path(files.certificate), _path(files.key))


def try_files(entry: Entry, stacks: StackTls) -> None:
    """Raise ``CertificateInvalid`` for files that no worker could use, before any is started."""
    if entry.certificate:
        server_context(Path(entry.certificate), Path(entry.key))
    Proof(stacks)


def _path(name: str) -> Path | None:
    return Path(name) if name else None


def _identity(file: Path) -> tuple[int, ...] | None:
    """Return what changes when a file does, behind links as well."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
