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
from time import perf_counter
from typing import TYPE_CHECKING, Final

from strangler.capability import Stack
from strangler.routing.decide import Ambiguous, Decision, Why, decide
from strangler_proxy.facts import RequestFacts
from strangler_proxy.forwarded import Trail
from strangler_proxy.http1.body import Framing, chunk, last_chunk
from strangler_proxy.http1.head import Refused, RequestHead, ResponseHead, write_request, write_response
from strangler_proxy.http1.hygiene import Pair
from strangler_proxy.identity import Identities, is_reserved
from strangler_proxy.problem import Problem, write_problem
from strangler_proxy.switchboard import Switchboard
from strangler_proxy.tunnel import open_tunnel

if TYPE_CHECKING:
    from strangler_proxy.downstream import Downstream
    from strangler_proxy.pool import Endpoint
    from strangler_proxy.upstream import Upstream

_NONE: Final = Framing.NONE
_CHUNKED: Final = Framing.CHUNKED
_SERVICE: Final = Stack.SERVICE
# nginx's code for a client that left before its answer; only ever counted and logged.
_CLIENT_LEFT = 499


class Exchange:
    """Forwards ``head`` and what follows it for ``downstream``."""

    __slots__ = (
        "_asked",
        "_began",
        "_begun",
        "_board",
        "_close",
        "_credential",
        "_decision",
        "_downstream",
        "_endpoint",
        "_facts",
        "_framing",
        "_out",
        "_over",
        "_paused",
        "_received",
        "_replied",
        "_request_done",
        "_response_done",
        "_retried",
        "_reusable",
        "_sent",
        "_stale",
        "_status",
        "_trail",
        "_tried",
        "_upstream",
        "_voucher",
        "_waiting",
        "head",
        "started",
    )

    def __init__(self, board: Switchboard, downstream: Downstream, head: RequestHead) -> None:
        self._board = board
        self._downstream = downstream
        self.head = head
        self.started = False
        self._out: list[bytes] = []  # towards the stack
        self._waiting = 0  # bytes in it that wait for a connection
        self._received: list[bytes] = []  # towards the client
        self._request_done = False
        self._replied = False  # the response's head has been made
        self._begun = False  # and sent
        self._response_done = False
        self._over = False
        self._close = False
        self._reusable = False
        self._retried = False
        self._stale = False
        self._paused = False
        self._sent = 0
        self._status = 0
        self._asked = ""
        self._voucher = b""
        self._framing = _NONE
        self._decision: Decision | None = None
        self._upstream: Upstream | None = None
        self._endpoint: Endpoint | None = None
        self._tried: tuple[Endpoint, ...] = ()

    def __repr__(self) -> str:
        return f"<Exchange {self.head!r} status={self._status} over={self._over}>"

    # --- the client's side ---

    def start(self) -> None:
        """Decide where the request goes and send it on its way."""
        board, head, peer = self._board, self.head, self._downstream.peer
        self.started = True
        self._began = perf_counter()
        board.tally.in_flight += 1
        self._progress()
        self._trail = Trail(head, peer.trusted)
        if peer.trusted:
            self._facts = RequestFacts(head, peer.client(head), peer.secure(head), board.keys)
        else:
            self._facts = RequestFacts(head, peer.address, False, board.keys)
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
            self._reach()

    def body_came(self, data: bytes) -> None:
        """Take a piece of the request's body; ``flush`` sends it."""
        self._out.append(chunk(data) if self.head.framing is _CHUNKED else data)
        if self._upstream is None:
            self._waiting += len(data)
            if self._waiting > self._board.limits.buffer:
                self._downstream.choke(True)

    def request_ended(self, trailers: list[Pair]) -> None:
        """Take the end of the request."""
        self._request_done = True
        if self.head.framing is _CHUNKED:
            self._out.append(last_chunk(trailers))

    def flush(self) -> None:
        """Send what has gathered for the stack."""
        out, upstream = self._out, self._upstream
        if upstream is None or not out:
            return
        upstream.transport.write(out[0] if len(out) == 1 else b"".join(out))
        out.clear()
        if self.head.framing is not _NONE:
            self._progress()

    def spoiled(self, refused: Refused) -> None:
        """End because the rest of the request cannot be understood."""
        self._close = True
        self._fail(refused.status, refused.detail, "")

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
            self._progress()

    def expire(self) -> None:
        """End because nobody made progress in time."""
        if not self._request_done:
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
            self._reach()
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
        self._reach()

    def _may_go_unnamed(self) -> bool:
        """Return whether a stranger's answer does no harm to somebody who might be known.

        A reader in a browser sees the page as strangers do: a shop window that stays lit while the monolith is
        away. A program that shows a token would take a stranger's answer for its own, and a write in nobody's name is
        never what was meant: these wait.
        """
        decision, credential = self._decision, self._credential
        return (
            decision is not None
            and decision.why is not Why.WRITE
            and credential is not None
            and not credential.authorization
        )

    # --- the way to a stack ---

    def _reach(self) -> None:
        decision = self._decision
        assert decision is not None  # noqa: S101 -- start() has set it
        endpoint = self._board.pool.choose(decision.upstream, self._tried)
        if endpoint is None:
            self._fail(502, "The application could not be reached.", "")
            return
        self._endpoint = endpoint
        self._asked = endpoint.url
        endpoint.pending += 1
        upstream = None if self._retried else endpoint.take(self.head.repeatable)
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
        upstream.used = True
        upstream.exchange = self
        upstream.expect(self.head.method, self)
        if self._downstream.full:
            self.client_full(True)
        head = self.head
        lines = self._downstream.peer.lines(head) + self._trail.lines + self._voucher
        self._out.insert(0, write_request(head, lines, upstream.endpoint.authority))
        if self._waiting:
            self._waiting = 0
            self._downstream.choke(False)
        self.flush()
        return True

    def unreachable(self, endpoint: Endpoint, kind: str) -> None:
        """Ask the next endpoint: nothing was sent to this one."""
        if self._over:
            return
        endpoint.pending -= 1
        self._endpoint = None
        self._count_failure(kind)
        self._tried = (*self._tried, endpoint)
        if kind == "connect_timeout" and self._board.pool.choose(self._upstream_name, self._tried) is None:
            self._fail(504, "The application could not be reached in time.", "")
        else:
            self._reach()

    # --- the stack's side ---

    def response_came(self, head: ResponseHead) -> None:
        """Take the head of a response, or of an interim one."""
        if head.status < 200:
            self._interim(head)
            return
        self._status = head.status
        self._replied = True
        self._close = not self.head.keep_alive or not self._request_done or self._board.draining
        self._reusable = head.keep_alive
        if self._board.identities is not None:
            self._board.identities.observe(self.head, head.pairs)
        line, self._framing = write_response(head, self.head.minor, self._close, self._facts.cookie_line)
        if self._framing is Framing.CLOSE:
            self._close = True
        self._received.append(line)

    def _interim(self, head: ResponseHead) -> None:
        if head.status == 101:
            if not self.head.upgrade:
                self.garbled("101 to a request without Upgrade")
                return
            self._status = 101
        elif self.head.minor == 0:
            return
        self._received.append(write_response(head, 1, False, b"")[0])

    def response_body(self, data: bytes) -> None:
        self._received.append(chunk(data) if self._framing is _CHUNKED else data)

    def response_ended(self, trailers: list[Pair]) -> None:
        self._response_done = True
        if self._framing is _CHUNKED:
            self._received.append(last_chunk(trailers))

    def relay(self) -> None:
        """Send what has gathered for the client; after the last of it, end."""
        if self._over:
            return
        received = self._received
        if received:
            data = received[0] if len(received) == 1 else b"".join(received)
            received.clear()
            if self._downstream.transport.is_closing():
                self.abandon()
                return
            self._sent += len(data)
            self._begun = self._replied
            self._downstream.transport.write(data)
        if not self._response_done:
            self._progress()
            return
        self._let_go(broken=not (self._reusable and self._request_done))
        self._settle(self._status)
        self._downstream.exchange_over(self._close)

    def tunnel_opened(self, rest: bytes) -> None:
        """Join both connections: the stack has agreed to the upgrade."""
        upstream, endpoint = self._upstream, self._endpoint
        if self._over or upstream is None or endpoint is None:
            return
        self._received.append(rest)
        self.relay()
        if self._over:  # the client left just now
            return
        early = self._downstream.release()
        self._upstream = upstream.exchange = None
        endpoint.pending -= 1
        if early:
            upstream.transport.write(early)
        open_tunnel(self._board, self._downstream.transport, upstream.transport, partial(endpoint.lost, upstream))
        self._settle(101)

    def upstream_full(self, full: bool) -> None:
        """Stop or go on taking the request, as the stack reads."""
        self._downstream.choke(full)

    def upstream_lost(self) -> None:
        """End, or begin again where that is safe: the connection to the stack is gone."""
        upstream = self._upstream
        if upstream is None:
            return
        repeat = self._stale and not self._retried and not upstream.heard and self.head.repeatable
        if repeat:
            self._let_go(broken=True)
            self._over = False
            self._retried = True
            self._reach()
        else:
            self._fail(502, "The application broke the connection off.", "truncated" if self._replied else "reset")

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
        close = self._close or not self._request_done or not self.head.keep_alive or self._board.draining
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

    @property
    def _upstream_name(self) -> str:
        return self._decision.upstream if self._decision is not None else ""

    def _count_failure(self, kind: str) -> None:
        self._board.tally.failure(self._upstream_name, kind)

    def _progress(self) -> None:
        board = self._board
        waiting = self._request_done and not self._replied
        patience = board.timeouts.first_byte if waiting else board.timeouts.stream_idle
        self._downstream.deadline = board.time() + patience

    def _settle(self, status: int) -> None:
        board, decision = self._board, self._decision
        seconds = perf_counter() - self._began
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
