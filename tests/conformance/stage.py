"""Plays a case: a client's socket, a proxy, and a stack that records what arrives and answers by script."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network
from types import TracebackType
from typing import Self

from tests.conformance.case import (
    ORIGIN,
    Arrived,
    Case,
    End,
    Mismatch,
    Piece,
    Step,
    Turn,
    Unfinished,
    Until,
    joined,
    masked,
    match,
    passed,
)
from tests.fixtures.proxy import SETTINGS, Origin, Proxy, Served, Truncated, routing_table
from tests.fixtures.waiting import until

PROBE = b"GET /probe HTTP/1.1\r\nHost: shop.test\r\n\r\n"
PROBE_ARRIVED = passed(b"GET /probe HTTP/1.1")
PROBE_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nstill up"
PATIENCE = 5.0

Send = Callable[[socket.socket, bytes], None]


class Tap:
    """A connection that the stack has accepted, and all that came over it; ``over`` once nothing more can come."""

    def __init__(self, sock: socket.socket, send: Send, seen: threading.Event) -> None:
        self.arrived = bytearray()
        self.over = threading.Event()
        self._sock = sock
        self._send = send
        self._seen = seen

    def hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def asked(self) -> bool:
        """Wait for the beginning of a request; False at the end."""
        return bool(self._sock.recv(1, socket.MSG_PEEK))

    def play(self, turn: Turn) -> None:
        for step in (Step.WHOLE, turn) if isinstance(turn, bytes) else turn:
            self._do(step)

    def _do(self, step: bytes | Step | Until) -> None:
        match step:
            case bytes():
                self._send(self._sock, step)
            case Until():
                self._read_until(step.end)
            case Step.HEAD:
                self._read_until(b"\r\n\r\n")
            case Step.WHOLE:
                self._read_body(self._read_until(b"\r\n\r\n"))
            case Step.SEEN:
                self._seen.wait(PATIENCE)
            case Step.FIN:
                self._sock.shutdown(socket.SHUT_WR)
            case Step.RESET:
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self._sock.close()
                raise Truncated("as told")
            case Step.GONE:
                while self._more(65536):
                    pass

    def _more(self, count: int) -> bytes:
        data = self._sock.recv(count)
        self.arrived += data
        return data

    def _exactly(self, count: int) -> None:
        while count:
            data = self._more(count)
            if not data:
                raise Truncated(repr(bytes(self.arrived)))
            count -= len(data)

    def _read_until(self, end: bytes) -> bytes:
        begin = len(self.arrived)
        while not self.arrived[begin:].endswith(end):
            self._exactly(1)
        return bytes(self.arrived[begin:])

    def _read_body(self, head: bytes) -> None:
        for line in head.split(b"\r\n"):
            if line == b"Transfer-Encoding: chunked":
                self._read_chunks()
            elif line.startswith(b"Content-Length: "):
                self._exactly(int(line[16:]))

    def _read_chunks(self) -> None:
        while size := int(self._read_until(b"\r\n"), 16):
            self._exactly(size + 2)
        while self._read_until(b"\r\n") != b"\r\n":
            pass


class Caller:
    """A client's connection: ``got`` is all that came, ``end`` how it ended, if it has."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.got = b""
        self.end = ""

    def read_until(self, holds: Callable[[bytes], bool]) -> None:
        """Read until ``holds`` of all that came, or the end, or nothing comes any more."""
        while not self.end and not holds(masked(self.got)):
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                return
            except ConnectionResetError:
                self.end = "a reset"
            else:
                self.got += data
                self.end = "" if data else "an orderly end"


class Stage:
    """A proxy before one stack, for one case after the other. ``trusted``: it believes its clients' balancers."""

    def __init__(self, trusted: bool = False) -> None:
        self._origin = Origin(self._serve)
        self._authority = f"127.0.0.1:{self._origin.port}".encode()
        settings = replace(SETTINGS, trusted=(ip_network("127.0.0.0/8"),)) if trusted else SETTINGS
        self._proxy = Proxy(settings, routing_table(f"http://{self._authority.decode()}"))
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._origin.__enter__()
        self._proxy.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._proxy.__exit__(kind, exc, trace)
        self._origin.__exit__(kind, exc, trace)

    def play(self, case: Case, cut: bool) -> None:
        """Play ``case``, with both sides sending byte by byte when ``cut``. Raises ``AssertionError``."""
        self._turns, self._taps, self._cut = list(case.answers), list[Tap](), cut
        self._seen, self._told = threading.Event(), threading.Event()
        with socket.create_connection(("127.0.0.1", self._proxy.port), timeout=PATIENCE) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            caller = Caller(sock)
            self._call(caller, case)
        for tap in self._taps:
            tap.hang_up()
        for tap in self._taps:
            assert tap.over.wait(PATIENCE), "the proxy keeps a connection whose other end is closed"
        wrong = [*self._wrong_with_answer(case, caller), *self._wrong_with_request(case)]
        assert not wrong, "\n".join(wrong)

    # --- the client ---

    def _call(self, caller: Caller, case: Case) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # what came back will tell
            for step in case.sends:
                self._client_does(caller, step)
        caller.read_until(lambda got: self._whole(case.got, got))
        self._seen.set()
        if any(Step.SEEN in turn for turn in case.answers if isinstance(turn, tuple)):
            assert self._told.wait(PATIENCE)
            self._beat()
        if case.end is not End.KEPT:
            caller.read_until(lambda got: False)
            return
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            caller.sock.sendall(PROBE)
        caller.read_until(lambda got: got.endswith(PROBE_ANSWER))

    def _client_does(self, caller: Caller, step: bytes | Step | Until | Arrived) -> None:
        match step:
            case bytes():
                self._send(caller.sock, step)
            case Step.FIN:
                caller.sock.shutdown(socket.SHUT_WR)
                self._beat()
            case Until():
                caller.read_until(lambda got: got.endswith(step.end))
            case Arrived():
                until(lambda: any(tap.arrived.endswith(step.end) for tap in self._taps), repr(step))
            case _:
                raise NotImplementedError(step)

    def _send(self, sock: socket.socket, data: bytes) -> None:
        size = max(1, len(data) // 400) if self._cut else len(data)
        for at in range(0, len(data), size):
            sock.sendall(data[at : at + size])
            self._beat()

    def _beat(self) -> None:
        """Wait until the proxy has read what was sent: its loop has gone round since."""
        self._proxy.call(lambda: None)

    # --- the stack ---

    def _serve(self, origin: Origin, served: Served) -> None:
        tap = Tap(served.sock, self._send, self._seen)
        self._taps.append(tap)
        try:
            while tap.asked():
                with self._lock:
                    turn = self._turns.pop(0) if self._turns else PROBE_ANSWER
                tap.play(turn)
                if isinstance(turn, tuple) and Step.SEEN in turn:
                    self._told.set()
        finally:
            tap.over.set()

    # --- the judgement ---

    def _whole(self, expected: tuple[Piece, ...], got: bytes) -> bool:
        try:
            return match(expected, joined(got) if self._cut else got) is not None
        except Mismatch:
            return not self._cut  # a body that is not whole yet is not joined either

    def _in_place(self, data: bytes) -> bytes:
        data = masked(data).replace(self._authority, ORIGIN)
        return joined(data) if self._cut else data

    def _wrong_with_answer(self, case: Case, caller: Caller) -> list[str]:
        kept = case.end is End.KEPT
        wanted = [self._in_place(piece) if isinstance(piece, bytes) else piece for piece in case.got]
        if kept:
            wanted.append(PROBE_ANSWER)
        try:
            rest = match(wanted, self._in_place(caller.got))
        except Mismatch as exc:
            return [f"the client: {exc}"]
        wrong = [] if rest == b"" else [f"the client: expected {wanted}, found {caller.got!r}"]
        ends = {
            End.KEPT: ("",),
            End.CLOSED: ("an orderly end",),
            End.RESET: ("a reset",),
            End.BROKEN: ("a reset", "an orderly end"),
        }
        return wrong if caller.end in ends[case.end] else [*wrong, f"the client: expected {case.end}, saw {caller.end}"]

    def _wrong_with_request(self, case: Case) -> list[str]:
        arrived = [self._in_place(bytes(tap.arrived)) for tap in self._taps if tap.arrived]
        found = tuple(rest for each in arrived if (rest := each.removesuffix(PROBE_ARRIVED)))
        if isinstance(case.arrived, Unfinished):
            allowed = self._in_place(case.arrived.beginning)
            return [f"the stack: found {each!r}" for each in found if not allowed.startswith(each)]
        wanted = tuple(map(self._in_place, case.arrived))
        wrong = [] if found == wanted else [f"the stack: expected {wanted}, found {found}"]
        reused = PROBE_ARRIVED not in arrived
        if case.reused is not None and case.reused is not reused:
            wrong.append(f"the stack: its connection was {'' if reused else 'not '}used again")
        return wrong
