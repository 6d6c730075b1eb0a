"""How a service is asked: one request a connection, bounded in time and size, and bytes that no client would send."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Final

from strangler.conforming.answer import Answer, Asked, Raw, Silence
from strangler.routing.address import Endpoint, parse_endpoint

# Nobody reads more of an answer; a document of some hundred operations has a tenth of it.
MOST_BYTES: Final = 8 << 20
_PIECE: Final = 16 << 10

Headers = Mapping[str, str]


class Wire:
    """The way to one endpoint. ``own`` are sent with each request; no answer is waited for longer than ``patience``."""

    def __init__(self, endpoint: str, context: ssl.SSLContext | None, *, own: Headers, patience: float) -> None:
        self.endpoint: Endpoint = parse_endpoint(endpoint)
        self._context = context
        self._own = own
        self._patience = patience

    def __repr__(self) -> str:
        return f"Wire({self.endpoint})"

    def open(self) -> socket.socket:
        """Return a connection. Raises ``OSError``."""
        place = self.endpoint
        if place.path:
            plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                plain.settimeout(self._patience)
                plain.connect(place.path)
            except OSError:
                plain.close()
                raise
            return plain
        plain = socket.create_connection((place.host, place.port), timeout=self._patience)
        if self._context is None or not place.secure:
            return plain
        try:
            return self._context.wrap_socket(plain, server_hostname=place.host)
        except OSError:
            plain.close()
            raise

    def ask(self, target: str, headers: Headers | None = None) -> Asked:
        """Return what a GET is answered on a connection of its own."""
        try:
            with closing(self.kept()) as kept:
                return kept.ask(target, {"Connection": "close", **(headers or {})})
        except OSError as exc:
            return Silence(why=_why(exc), refused=True)

    def ask_after(self, target: str, before: Headers) -> Asked | None:
        """Return what is answered on a connection that a request with ``before`` came on, None when that ended it."""
        try:
            with closing(self.kept()) as kept:
                kept.ask(target, before)
                return None if kept.is_over else kept.ask(target)
        except OSError:
            return None

    def kept(self) -> Kept:
        """Return a connection for several requests, to be closed. Raises ``OSError``."""
        return Kept(self.open(), self.endpoint.authority, self._own, self._patience)

    def send(self, pieces: Iterable[bytes], *, seconds: float) -> Raw:
        """Send ``pieces`` as they are, until all are sent or something comes back; then wait for what comes back."""
        try:
            opened = self.open()
        except OSError as exc:
            return Raw(refused=_why(exc))
        deadline = time.monotonic() + seconds
        with opened, _ending(opened, seconds):
            came = _exchange(opened, pieces)
        # What we ended ourselves, the other side did not close.
        return replace(came, closed=False) if time.monotonic() >= deadline else came


def _exchange(opened: socket.socket, pieces: Iterable[bytes]) -> Raw:
    sent = 0
    try:
        for piece in pieces:
            if said := _waiting(opened):
                return Raw(status=_status(said), sent=sent, closed=True)
            opened.sendall(piece)
            sent += len(piece)
        said = opened.recv(_PIECE)
    except TimeoutError:
        return Raw(sent=sent)
    except OSError:
        return Raw(status=_status(_left(opened)), sent=sent, closed=True)
    return Raw(status=_status(said), sent=sent, closed=not said)


def _waiting(opened: socket.socket) -> bytes:
    """Return what has come back already, without waiting for it."""
    before = opened.gettimeout()
    opened.settimeout(0.0)
    try:
        return opened.recv(_PIECE)
    except (BlockingIOError, ssl.SSLWantReadError):
        return b""
    finally:
        opened.settimeout(before)


def _left(opened: socket.socket) -> bytes:
    try:
        return opened.recv(_PIECE)
    except OSError:
        return b""


def _status(said: bytes) -> int | None:
    words = said.split(None, 2)
    good = len(words) > 1 and words[0].startswith(b"HTTP/1.") and words[1].isdigit()
    return int(words[1]) if good else None


class Kept:
    """A connection and the requests on it, one after the other. ``is_over`` says that it can take no more."""

    def __init__(self, opened: socket.socket, authority: str, own: Headers, patience: float) -> None:
        self.is_over = False
        self._opened = opened
        self._own = own
        self._patience = patience
        self._connection = http.client.HTTPConnection(authority)
        self._connection.sock = opened

    def ask(self, target: str, headers: Headers | None = None) -> Asked:
        """Return what a GET is answered."""
        began = time.monotonic()
        begun = False
        try:
            with _ending(self._opened, self._patience):
                self._connection.request("GET", target, headers={**self._own, **(headers or {})})
                came = self._connection.getresponse()
                begun = True
                body = came.read(MOST_BYTES)
            told: Asked = self._read(came, body, time.monotonic() - began)
        except (OSError, http.client.HTTPException, ValueError) as exc:
            told = Silence(why=_why(exc), begun=begun)
        if time.monotonic() - began >= self._patience:  # what was ended by us looks like an end of theirs
            told = Silence(why=f"no whole answer in {self._patience:g} s", begun=begun)
        self.is_over = self.is_over or isinstance(told, Silence)
        return told

    def _read(self, came: http.client.HTTPResponse, body: bytes, seconds: float) -> Asked:
        cut = len(body) == MOST_BYTES
        missing = 0 if cut else came.length or 0
        self.is_over = came.will_close or cut or missing > 0
        if missing:
            return Silence(why=f"an answer that breaks off {missing} bytes before its end", begun=True)
        headers = tuple((name.lower(), value) for name, value in came.getheaders())
        return Answer(status=came.status, headers=headers, body=body, seconds=seconds, cut=cut)

    def close(self) -> None:
        self._connection.close()
        self._opened.close()


@contextmanager
def _ending(opened: socket.socket, seconds: float) -> Iterator[None]:
    """End a connection after ``seconds``, however little at a time the other side says."""

    def end() -> None:
        with contextlib.suppress(OSError):
            opened.shutdown(socket.SHUT_RDWR)

    opened.settimeout(seconds)
    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _why(exc: Exception) -> str:
    if isinstance(exc, http.client.RemoteDisconnected | ConnectionResetError | BrokenPipeError):
        return "the connection was closed without an answer"
    return str(exc) or type(exc).__name__
