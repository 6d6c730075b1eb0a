"""One request and its response, from decision to the last byte.

An exchange stands between a client's connection and a stack's, and both call it. What has been sent decides what a
failure may still become: with nothing sent, another endpoint is asked; with a repeatable request lost on a
connection that was used before, it is sent once more; before the response's head has left, the client gets a
problem; after it, the client's connection is broken, because an answer that looks complete and is not is the
one failure nobody can see.

A response may come before its request has ended (a refusal of an upload). It is passed on, the rest of the
request still flows while the stack takes it, and the client's connection ends after.
"""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final

from strangler.capability import Stack
from strangler.routing.decide import Ambiguous, Decision, Why, decide
from strangler_proxy.facts import RequestFacts
from strangler_proxy.forwarded import Trail
from strangler_proxy.http1.body import Framing, Trailers, chunk, last_chunk
from strangler_proxy.http1.head import RequestHead, ResponseHead, write_request, write_response
from strangler_proxy.identity import Identities, is_reserved
from strangler_proxy.problem import Problem, write_problem
from strangler_proxy.question import Credential
from strangler_proxy.switchboard import Switchboard
from strangler_proxy.tunnel import open_tunnel

if TYPE_CHECKING:
    from strangler_proxy.downstream import Downstream
    from strangler_proxy.pool import Endpoint
    from strangler_proxy.upstream import Upstream

_NONE: Final = Framing.NONE
_CHUNKED: Final = Framing.CHUNKED
_CLOSE: Final = Framing.CLOSE
_SERVICE: Final = Stack.SERVICE
_WRITE: Final = Why.WRITE
# nginx's code for a client that left before its answer; only ever counted and logged.
_CLIENT_LEFT: Final = 499
# What a piece that waits takes beyond its bytes: without it, pieces of one byte held 47 times the limit.
_PIECE: Final = 64


class Exchange:
    """Forwards ``head`` and what follows it for ``downstream``."""

    # Defaults stand in the class, since setting each of them takes 0.7 us an exchange.
    request_done = False
    _started = False
    _waiting = 0  # bytes of the request that wait for a connection
    _begun = False  # the response's head has been sent
    _over = False
    _close = False
    _reusable = False
    _retried = False
    _stale = False
    _paused = False
    _sent = 0
    _status = 0
    _asked = ""
    _voucher = b""
    _framing = _NONE
    _credential: Credential | None = None
    _decision: Decision | None = None
    _upstream: Upstream | None = None
    _endpoint: Endpoint | None = None
    _tried: tuple[Endpoint, ...] = ()

    def __init__(self, board: Switchboard, downstream: Downstream, head: RequestHead) -> None:
        self._board = board
        self._downstream = downstream
        self.head = head
        self._out: list[bytes] = []  # what waits of the request
        self._began = monotonic()
        self._trail = Trail(head, downstream.peer.trusted)
        self._facts = RequestFacts(head, downstream.peer, board.keys)
        board.tally.in_flight += 1

    def __repr__(self) -> str:
        return f"<Exchange {self.head!r} status={self._status} over={self._over}>"

    # --- the client's side ---

    def start(self) -> None:
        """Decide where the request goes and send it on its way."""
        board, head = self._board, self.head
        self._started = True
        self._progress(self._began)
        if is_reserved(head.path):
            self._fail(404, "There is nothing at this address.", "")
            return
        found = decide(board.table, self._facts)
        if isinstance(found, Ambiguous):
            self._fail(400, "The path can be read in ways that lead to different places; write it plainly.", "")
            return
        self._decision = found
        if found.stack is _SERVICE and board.identities is not None:
            self._identify(board.identities)
        else:
            self._reach(found)

    def body_came(self, piece: bytes, end: Trailers | None) -> None:
        """Take a piece of the request's body; ``end`` are the trailers when it was the last."""
        if self.head.framing is _CHUNKED:
            piece = _framed(piece, end)
        if end is not None:
            self.request_done = True
        if not piece:
            return
        if self._upstream is not None:
            self._upstream.transport.write(piece)
            self._progress(monotonic())
        elif not self._over:
            self._keep(piece)

    def _keep(self, piece: bytes) -> None:
        self._out.append(piece)
        self._waiting += len(piece) + _PIECE
        if self._waiting > self._board.limits.buffer:
            self._downstream.choke(True)

    def spoiled(self, status: int, detail: str) -> None:
        """End because the rest of the request cannot be understood."""
        self._close = True
        self._fail(status, detail, "")

    def abandon(self) -> None:
        """End because the client is gone."""
        if not self._over:
            self._let_go(broken=True)
            self._settle(_CLIENT_LEFT)

    def client_full(self, full: bool) -> None:
        """Stop or go on taking the response, as the client reads."""
        self._paused = full
        upstream = self._upstream
        if upstream is None or upstream.transport.is_closing():
            return
        if full:
            upstream.transport.pause_reading()
        else:
            upstream.transport.resume_reading()
            self._progress(monotonic())

    def expire(self) -> None:
        """End because nobody made progress in time."""
        if not self.request_done:
            self._close = True
            self._fail(408, "The rest of the request did not come in time.", "")
        elif self._upstream is None:
            self._fail(503, "All connections to the application are busy.", "overload")
        else:
            self._fail(504, "The application did not answer in time.", "timeout")

    # --- who the visitor is ---

    def _identify(self, identities: Identities) -> None:
        """Find out whose credential the request carries, if it carries one, before it goes to a service."""
        credential = self._credential = identities.credential(self.head)
        known = identities.known(credential) if credential else None
        if credential is None:
            self._go()
        elif known is not None:
            self.identified(known.line)
        else:
            lines = self._downstream.peer.lines(self.head) + self._trail.lines
            identities.ask(credential, self.head.host, lines, self)

    def identified(self, line: bytes | None) -> None:
        """Go on, now that it is known who the visitor is; None says that the monolith cannot be asked."""
        if self._over:
            return
        if line is None and not self._may_go_unnamed():
            self._fail(503, "Who you are cannot be found out at the moment.", "")
            return
        self._voucher = line or b""
        self._go()

    def _may_go_unnamed(self) -> bool:
        """Return whether a stranger's answer does no harm to somebody who might be known.

        A reader in a browser sees the page as strangers do: a shop window that stays lit while the monolith is
        away. A program that shows a token would take a stranger's answer for its own, and a write in nobody's name is
        never what was meant: these wait.
        """
        credential = self._credential
        return not self._writes and credential is not None and not credential.authorization

    # --- the way to a stack ---

    @property
    def _writes(self) -> bool:
        return self._decision is None or self._decision.why is _WRITE

    @property
    def _repeatable(self) -> bool:
        """Whether it may be sent twice: a GET that its route calls a write may not."""
        return self.head.repeatable and not self._writes

    def _go(self) -> None:
        if self._decision is not None:
            self._reach(self._decision)

    def _reach(self, decision: Decision) -> None:
        endpoint = self._board.pool.choose(decision.upstream, self._tried)
        if endpoint is None:
            self._fail(502, "The application could not be reached.", "")
            return
        self._endpoint = endpoint
        self._asked = endpoint.url
        endpoint.pending += 1
        upstream = None if self._retried else endpoint.take(self._repeatable)
        if upstream is not None:
            self.connected(upstream)
        elif not endpoint.ask(self):
            self._fail(503, "Too many requests wait for the application.", "overload")

    @property
    def wanted(self) -> bool:
        return not self._over

    def connected(self, upstream: Upstream) -> bool:
        """Send the request over ``upstream``; False when it is no longer wanted."""
        if self._over:
            return False
        self._upstream = upstream
        self._stale = upstream.used
        head, downstream = self.head, self._downstream
        lines = downstream.peer.lines(head) + self._trail.lines + self._voucher
        data = write_request(head, lines, upstream.endpoint.authority)
        if self._out:
            data = b"".join([data, *self._out])
            self._out.clear()
            self._waiting = 0
        upstream.ask(self, head.method, data)
        if downstream.choked and not upstream.transport.get_write_buffer_size() > self._board.limits.buffer:
            downstream.choke(False)
        if downstream.full:
            self.client_full(True)
        return True

    def unreachable(self, endpoint: Endpoint, kind: str) -> None:
        """Ask the next endpoint: nothing was sent to this one."""
        decision = self._decision
        if self._over or decision is None:
            return
        endpoint.pending -= 1
        self._endpoint = None
        self._count_failure(kind)
        self._tried = (*self._tried, endpoint)
        if kind == "connect_timeout" and self._board.pool.choose(decision.upstream, self._tried) is None:
            self._fail(504, "The application could not be reached in time.", "")
        else:
            self._reach(decision)

    # --- the stack's side ---

    def interim(self, head: ResponseHead) -> None:
        """Pass an interim response on, to a client that can read it."""
        if self.head.minor == 1:
            self._send(write_response(head, 1, False, b"")[0])
            self._progress(monotonic())

    def answered(self, head: ResponseHead, body: bytes, end: Trailers | None) -> None:
        """Send a response's head, and what came with it of its body."""
        request = self.head
        self._status = head.status
        self._reusable = head.keep_alive
        close = not request.keep_alive or not self.request_done or self._board.draining
        if self._board.identities is not None:
            self._board.identities.observe(request, head)
        line, framing = write_response(head, request.minor, close, self._facts.cookie_line)
        self._close = close or framing is _CLOSE
        self._framing = framing
        self._begun = True
        self._pass(line + (_framed(body, end) if framing is _CHUNKED else body), end)

    def continued(self, body: bytes, end: Trailers | None) -> None:
        """Send more of a response's body."""
        self._pass(_framed(body, end) if self._framing is _CHUNKED else body, end)

    def _pass(self, data: bytes, end: Trailers | None) -> None:
        self._send(data)
        if self._over:
            return
        if end is None:
            self._progress(monotonic())
            return
        self._let_go(broken=not (self._reusable and self.request_done))
        self._settle(self._status)
        self._downstream.exchange_over(self._close)

    def _send(self, data: bytes) -> None:
        transport = self._downstream.transport
        if transport.is_closing():
            self.abandon()
            return
        self._sent += len(data)
        transport.write(data)

    def switched(self, head: ResponseHead, rest: bytes) -> None:
        """Join both connections: the stack has agreed to the upgrade."""
        upstream, endpoint, downstream = self._upstream, self._endpoint, self._downstream
        if not self.head.upgrade or upstream is None or endpoint is None:
            self.garbled("101 to a request without Upgrade")
            return
        self._send(write_response(head, 1, False, b"")[0] + rest)
        if self._over:  # the client left just now
            return
        self._over = True
        early = downstream.release()
        self._upstream = upstream.exchange = None
        endpoint.pending -= 1
        if early:
            upstream.transport.write(early)
        open_tunnel(self._board, downstream.transport, upstream.transport, partial(endpoint.lost, upstream))
        self._settle(101)

    def upstream_full(self, full: bool) -> None:
        """Stop or go on taking the request, as the stack reads."""
        self._downstream.choke(full)

    def upstream_lost(self) -> None:
        """End, or begin again where that is safe: the connection to the stack is gone."""
        upstream = self._upstream
        if upstream is None:
            return
        if self._stale and not self._retried and not upstream.heard and self._repeatable:
            self._let_go(broken=True)
            self._over = False
            self._retried = True
            self._go()
        else:
            self._fail(502, "The application broke the connection off.", "truncated" if self._begun else "reset")

    def garbled(self, what: str) -> None:
        """End because what came from the stack cannot be passed on."""
        self._fail(502, f"The application's answer was no proper HTTP: {what}.", "garbled")

    # --- the end ---

    def _fail(self, status: int, detail: str, kind: str) -> None:
        """Answer with a problem if the client has seen nothing yet, else break its connection."""
        if self._over:
            return
        if kind:
            self._count_failure(kind)
        self._let_go(broken=True)
        downstream = self._downstream
        if self._begun:
            self._settle(self._status)
            downstream.break_off(self._framing)
            return
        close = self._close or not self.request_done or not self.head.keep_alive or self._board.draining
        data = write_problem(
            Problem(status=status, detail=detail, retry_after=1 if status == 503 else None),
            self._trail.request_id.decode("ascii"),
            accept=self.head.header(b"accept"),
            head_only=self.head.method == "HEAD",
            close=close,
        )
        self._sent += len(data)
        downstream.transport.write(data)
        self._settle(status)
        downstream.exchange_over(close)

    def _let_go(self, broken: bool) -> None:
        """Part from the stack's connection; ``broken`` ones are not used again."""
        self._over = True
        endpoint, self._endpoint = self._endpoint, None
        if endpoint is not None:
            endpoint.pending -= 1
        if self._downstream.choked:
            self._downstream.choke(False)
        upstream, self._upstream = self._upstream, None
        if upstream is None:
            return
        upstream.exchange = None
        # A stack may answer what it has not read; another request would wait behind the rest, perhaps for ever.
        unread = self.head.framing is not _NONE and upstream.transport.get_write_buffer_size() > 0
        if broken or unread or upstream.surplus or upstream.transport.is_closing():
            upstream.transport.abort()
            return
        if self._paused:
            upstream.transport.resume_reading()
        upstream.endpoint.release(upstream)

    def _count_failure(self, kind: str) -> None:
        self._board.tally.failure(self._decision.upstream if self._decision is not None else "", kind)

    def _progress(self, now: float) -> None:
        timeouts = self._board.timeouts
        waiting = self.request_done and not self._begun
        self._downstream.deadline = now + (timeouts.first_byte if waiting else timeouts.stream_idle)

    def _settle(self, status: int) -> None:
        board, decision = self._board, self._decision
        seconds = monotonic() - self._began
        board.tally.in_flight -= 1
        if decision is None:
            board.tally.request("", "none", "refused", self.head.method, status, seconds)
        else:
            board.tally.request(
                decision.capability or "", decision.stack, decision.why, self.head.method, status, seconds
            )
        if board.log is not None:
            self._log(status, seconds)

    def _log(self, status: int, seconds: float) -> None:
        log, decision, trail = self._board.log, self._decision, self._trail
        assert log is not None  # noqa: S101 -- _settle has looked
        log.line(
            method=self.head.method,
            path=self.head.target.decode("latin-1"),
            status=status,
            stack=decision.stack if decision else None,
            capability=decision.capability if decision else None,
            why=decision.why if decision else None,
            upstream=self._asked,
            request_id=trail.request_id.decode("ascii"),
            trace_id=trail.trace_id.decode("ascii"),
            ms=round(seconds * 1000, 3),
            bytes=self._sent,
        )


def _framed(piece: bytes, end: Trailers | None) -> bytes:
    framed = chunk(piece) if piece else b""
    return framed if end is None else framed + last_chunk(end)
