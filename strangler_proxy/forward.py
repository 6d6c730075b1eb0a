"""One request and its response, from decision to the last byte.

An exchange stands between a client's connection and a stack's, and both call it. What has been sent decides what a
failure may still become: with nothing sent, another endpoint is asked; a repeatable request that was lost before
anything came back is sent once more (retry.py says when); a read that its service failed may be answered by the
monolith (fallback.py); before the response's head has left, the client gets a problem; after it, the client's
connection is broken, because an answer that looks complete and is not is the one failure nobody can see.

A response may come before its request has ended (a refusal of an upload). It is passed on, the rest of the
request still flows while the stack takes it, and the client's connection ends after.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import inf
from random import random
from time import monotonic, time
from typing import TYPE_CHECKING, Final

from strangler.capability import Stack
from strangler.routing.causal import lacks_references
from strangler.routing.decide import Ambiguous, Decision, Why, decide
from strangler.routing.table import MONOLITH
from strangler_proxy import causal, fallback
from strangler_proxy.account import account
from strangler_proxy.admission import Refusal, read_only, turned_away
from strangler_proxy.breaker import FAILURES
from strangler_proxy.cluster import Cluster
from strangler_proxy.facts import RequestFacts
from strangler_proxy.fallback import Failure, fallback_line, may_fall_back
from strangler_proxy.forwarded import Trail
from strangler_proxy.hold import Outcome, Parking
from strangler_proxy.http1.body import Framing, Trailers, chunk, last_chunk
from strangler_proxy.http1.head import RequestHead, ResponseHead, write_request, write_response
from strangler_proxy.identity import Identities, is_reserved
from strangler_proxy.problem import Problem, write_problem
from strangler_proxy.question import Credential
from strangler_proxy.retry import Attempt, Verdict, backoff, may_retry
from strangler_proxy.server_timing import server_timing
from strangler_proxy.switchboard import Guard, Lane, Switchboard
from strangler_proxy.tunnel import open_tunnel
from strangler_proxy.why import why

if TYPE_CHECKING:
    from collections.abc import Callable

    from strangler_proxy.downstream import Downstream
    from strangler_proxy.endpoint import Endpoint
    from strangler_proxy.telemetry import Series
    from strangler_proxy.upstream import Upstream

_NONE: Final = Framing.NONE
_CHUNKED: Final = Framing.CHUNKED
_CLOSE: Final = Framing.CLOSE
_SERVICE: Final = Stack.SERVICE
_WRITE: Final = Why.WRITE
_CAUSAL: Final = Why.CAUSAL
# nginx's code for a client that left before its answer; only ever counted and logged.
_CLIENT_LEFT: Final = 499
# What a piece that waits takes beyond its bytes: without it, pieces of one byte held 47 times the limit.
_PIECE: Final = 64


class Exchange:
    """Forwards ``head`` and what follows it for ``downstream``."""

    # Defaults stand in the class, since setting each of them takes 0.7 us an exchange.
    request_done = False
    asked = ""  # the endpoint's address
    status = 0
    sent = 0  # bytes, to the client
    retries = 0
    failure = ""  # the last, of any stack
    refusal = ""  # why the proxy did not let it through
    fell_back = False
    waiting = 0  # bytes of the request that wait for a connection
    admitted = False  # it was not turned away, and has paid what rates take for it
    asked_at = 0.0
    decision: Decision | None = None
    _begun = False  # the response's head has been sent
    _over = False
    _close = False
    _reusable = False
    _fresh = False  # only a new connection will do
    _stale = False
    _paused = False
    _budgeted = False
    _ticket = 0
    _until = inf
    _voucher = b""
    _extra = b""
    _framing = _NONE
    _credential: Credential | None = None
    _lane: Lane | None = None
    _guard: Guard | None = None
    _cluster: Cluster | None = None
    _upstream: Upstream | None = None
    _endpoint: Endpoint | None = None
    _tried: tuple[Endpoint, ...] = ()
    _parking: Parking | None = None
    _held_at = 0.0
    _held = 0.0  # seconds
    _catches_up_until = 0.0

    def __init__(self, board: Switchboard, downstream: Downstream, head: RequestHead) -> None:
        self._board = board
        self._downstream = downstream
        self.head = head
        self._out: list[bytes] = []  # what waits of the request
        self.began = monotonic()
        self.peer = downstream.peer
        self.trail = Trail(head, self.peer.trusted, board.tracer)
        self.facts = RequestFacts(head, self.peer, board.keys, board.reached.applied)
        board.tally.in_flight += 1

    def __repr__(self) -> str:
        return f"<Exchange {self.head!r} status={self.status} over={self._over}>"

    # --- the client's side ---

    def start(self) -> None:
        """Decide where the request goes and send it on its way."""
        board, head = self._board, self.head
        self._downstream.deadline = self.began + self._held + board.timeouts.first_byte
        if head.path not in board.table.known and is_reserved(head.path):  # what is known has a capability
            self._fail(404, "There is nothing at this address.")
            return
        found = decide(board.table, self.facts)
        if found.__class__ is Ambiguous:
            self._fail(400, "The path can be read in ways that lead to different places; write it plainly.")
            return
        self._lane = lane = board.lanes.get(id(found)) or board.lane(found)  # type: ignore[arg-type]
        self.decision = decision = lane.decision
        lane.series.begun += 1
        if lane.admission is not None and not lane.admission.admit(self):
            return
        if head.causal is not None and not self._is_as_new(decision):
            self._catch_up()
        else:
            self._proceed(lane)

    def _proceed(self, lane: Lane) -> None:
        board = self._board
        if board.identities is not None and lane.decision.stack is _SERVICE:
            self._identify(board.identities)
        elif lane.guard is None:
            self._enter(lane.cluster)
        else:
            self._go()

    def add(self, lines: bytes) -> None:
        """Have the response's head tell ``lines``, too."""
        self._extra += lines

    def refuse(self, refusal: Refusal) -> None:
        """End because the proxy does not let the request through."""
        self.refusal = refusal.reason
        self._fail(refusal.status, refusal.detail, refusal.retry_after, refusal.lines)

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
        self.waiting += len(piece) + _PIECE
        if self.waiting > self._board.limits.buffer:
            self._downstream.choke(True)
        if self._parking is not None and not self._parking.grow(self, len(piece) + _PIECE):
            self._wait_no_longer(Outcome.OVERFLOW)

    def spoiled(self, status: int, detail: str) -> None:
        """End because the rest of the request cannot be understood."""
        self._leave(Outcome.LEFT)
        self._close = True
        self._fail(status, detail)

    def client_ended(self) -> None:
        """End what waits: its client may be gone, and would ask again."""
        if self._parking is not None:
            self._close = True
            self._wait_no_longer(Outcome.LEFT)

    def abandon(self) -> None:
        """End because the client is gone."""
        if not self._over:
            self._leave(Outcome.LEFT)
            self._part(broken=True, answered=None)
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
        if self._parking is not None:
            self._wait_no_longer(Outcome.TIMEOUT)
        elif self._paused:
            self._close = True
            self._fail(408, "The answer was not taken in time.")
        elif not self.request_done and not self._downstream.choked:
            self._close = True
            self._fail(408, "The rest of the request did not come in time.")
        elif self._upstream is None:
            self._stumble("overload", 503, "All connections to the application are busy.", None)
        else:
            self._stumble("timeout", 504, "The application did not answer in time.", False)

    # --- a hold ---

    def wait(self, parking: Parking) -> None:
        """Wait at ``parking`` until told."""
        self._parking = parking
        if not self._held_at:
            self._held_at = monotonic()
        self._downstream.deadline = self._held_at + parking.bounds.seconds

    def decide_anew(self) -> None:
        """Go on as if the request had come just now."""
        self._parking = None
        if self._over:
            return
        self._held = monotonic() - self._held_at
        if self._lane is not None:
            self._lane.series.begun -= 1
            self._lane = None
        self.start()

    def turn_away(self, outcome: Outcome) -> None:
        """End because the request can wait no longer."""
        self._parking = None
        if outcome is not Outcome.LEFT and self.decision is not None:
            self._board.tally.refusal("hold", self.decision.capability or "")
        parking = self._board.holds.parking(self.decision.capability) if self.decision is not None else None
        self.refuse(read_only() if parking is not None and parking.bounds.count == 0 else turned_away())

    def _wait_no_longer(self, outcome: Outcome) -> None:
        if self._leave(outcome):
            self.turn_away(outcome)

    def _leave(self, outcome: Outcome) -> bool:
        parking, self._parking = self._parking, None
        return parking is not None and self._board.holds.end(parking, self, outcome)

    # --- what the visitor has written ---

    def _is_as_new(self, decision: Decision) -> bool:
        """Return whether a read need not wait for what its visitor has written elsewhere, and count one that left."""
        if decision.why is _CAUSAL:
            self._board.tally.causal_read(decision.capability or "", causal.Outcome.DIVERTED)
        if decision.why is _WRITE or not self._lacks_references(decision):
            return True
        self._catches_up_until = monotonic() + causal.AWAIT_S
        return False

    def _lacks_references(self, decision: Decision) -> bool:
        board = self._board
        capability = board.capability(decision.capability)
        token = None if capability is None or not capability.references else self.facts.token
        if capability is None or token is None:
            return False
        return lacks_references(decision.stack, capability, token, board.reached.applied)

    def _catch_up(self) -> None:
        """Wait until the stack is as new as its visitor must see it, but not for long, and only if somebody tells."""
        lane, board = self._lane, self._board
        if self._over or lane is None:
            return
        name, waits = lane.decision.capability or "", self._lacks_references(lane.decision)
        known = board.reached.applied(name, lane.decision.stack) is not None
        if waits and known and monotonic() < self._catches_up_until:
            board.call_later(causal.LOOK_S, self._catch_up)
            return
        board.tally.causal_read(name, causal.Outcome.EXPIRED if waits else causal.Outcome.WAITED)
        self._held += monotonic() - (self._catches_up_until - causal.AWAIT_S)  # of the time that a stack has
        self._downstream.deadline = self.began + self._held + board.timeouts.first_byte
        self._proceed(lane)

    def _note_write(self, head: ResponseHead, decision: Decision) -> bytes:
        """Return the headers that have the visitor carry what ``decision``'s stack says that it wrote."""
        keys, version, copied = self._board.keys, self._board.table.version, self._board.copied
        if not copied:
            return b""
        # What was refused or has failed was not promised.
        written = decision.why is _WRITE and head.status < 400 and decision.capability in copied
        mark = causal.mark_of(head.position, decision.upstream, version, written=written, now=time())
        if mark is None or keys is None:
            return b""
        return causal.cookie_lines(
            mark, self.facts.token, self.head.causal or {}, keys, secure=self.peer.secure(self.head)
        )

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
            lines = self.peer.lines(self.head) + self.trail.lines
            identities.ask(credential, self.head.host, lines, self)

    def identified(self, line: bytes | None) -> None:
        """Go on, now that it is known who the visitor is; None says that the monolith cannot be asked."""
        if self._over or self._cluster is not None or self.fell_back:  # its time ended, and the monolith was asked
            return
        if line is None and not self._may_go_unnamed():
            self._fail(503, "Who you are cannot be found out at the moment.")
            return
        self._voucher = line or b""
        self._go()

    def renew(self, lines: bytes) -> None:
        """Note that the response carries ``lines``, by which the visitor's session cookie lasts longer."""
        self._extra += lines

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
        return self.decision is None or self.decision.why is _WRITE

    def _go(self) -> None:
        lane = self._lane
        assert lane is not None  # noqa: S101 -- start() has set it
        if lane.guard is not None and not self._pass_guard(lane.guard):
            self._stumble("overload", 503, "Too many requests of this kind are under way.", None)
        else:
            self._enter(lane.cluster)

    def _pass_guard(self, guard: Guard) -> bool:
        if guard.timeout:
            self._until = self.began + self._held + guard.timeout
        if guard.bulkhead is None:
            return True
        if not guard.bulkhead.enter():
            return False
        self._guard = guard
        return True

    def _enter(self, cluster: Cluster) -> None:
        """Go to a stack, if its breaker and its bounds let one more through."""
        breaker = cluster.breaker
        self._ticket = 1 if breaker is None else breaker.admit(monotonic())
        if not self._ticket:
            self._stumble("open", 503, "The application fails too often, and is left alone for a moment.", None)
            return
        if not cluster.requests.enter():
            if breaker is not None:
                breaker.abandoned(self._ticket)
            self._stumble("overload", 503, "Too many requests are under way to the application.", None)
            return
        self._cluster = cluster
        if cluster.total:
            since = monotonic() if self.fell_back else self.began + self._held
            self._until = min(self._until, since + cluster.total)
        if self._until < inf:
            self._downstream.deadline = min(self._downstream.deadline, self._until)
        self._reach(cluster)

    def _reach(self, cluster: Cluster) -> None:
        endpoint = cluster.only if not self._tried else None
        if endpoint is None:
            endpoint = cluster.choose(self._tried)
        if endpoint is None:
            self._stumble("refused", 502, "The application could not be reached.", False)
            return
        self._endpoint = endpoint
        self.asked = endpoint.url
        endpoint.pending += 1
        decision = self.decision
        repeatable = decision is not None and decision.why is not _WRITE and self.head.repeatable
        upstream = None if self._fresh else endpoint.take(repeatable)
        if upstream is not None:
            self._send(upstream)
        elif not endpoint.ask(self):
            self._board.tally.refusal("pending", cluster.name)
            self._stumble("overload", 503, "Too many requests wait for the application.", None)

    @property
    def wanted(self) -> bool:
        return not self._over

    def connected(self, upstream: Upstream) -> bool:
        """Send the request over ``upstream``; False when it is no longer wanted."""
        # While it waited, its time may have ended, and another stack have been asked.
        if self._over or self._upstream is not None or self._endpoint is not upstream.endpoint:
            return False
        if self._writes and self._lease_ended():
            self._fail(503, "Writes of this kind have to wait for a moment.")
            return False
        self._send(upstream)
        return True

    def _lease_ended(self) -> bool:
        """Return whether this worker may be the one that does not know who owns what is written."""
        holds, decision = self._board.holds, self.decision
        parking = holds.parking(decision.capability) if decision is not None else None
        return parking is not None and parking.hold is None and holds.closed(parking)

    def _send(self, upstream: Upstream) -> None:
        cluster = self._cluster
        assert cluster is not None  # noqa: S101 -- _enter() has set it
        self._upstream = upstream
        self._stale = upstream.used
        self.asked_at = monotonic()
        head, downstream = self.head, self._downstream
        lines = self.peer.lines(head) + self.trail.lines + self._voucher
        data = write_request(head, lines, upstream.endpoint.authority)
        if self._out:
            data = b"".join([data, *self._out])
            self._out.clear()
            self.waiting = 0
        upstream.ask(self, head.method, data)
        if not self.request_done or self._until < inf or cluster.first_byte != self._board.timeouts.first_byte:
            self._progress(self.asked_at)  # else start() has set the same
        if downstream.choked and not upstream.transport.get_write_buffer_size() > self._board.limits.buffer:
            downstream.choke(False)
        if downstream.full:
            self.client_full(True)

    def unreachable(self, endpoint: Endpoint, kind: str) -> None:
        """Ask the next endpoint: nothing was sent to this one."""
        cluster = self._cluster
        if self._over or cluster is None or self._upstream is not None or self._endpoint is not endpoint:
            return
        endpoint.pending -= 1
        self._endpoint = None
        self._tried = (*self._tried, endpoint)
        another = cluster.choose(self._tried) is not None
        if kind == "connect_timeout" and not another:
            self._stumble(kind, 504, "The application could not be reached in time.", False)
        elif not self._try_again(cluster, sent=False, heard=False, at_once=another):
            self._stumble(kind, 502, "The application could not be reached.", False)
        else:
            self._count_failure(kind)

    def _try_again(self, cluster: Cluster, *, sent: bool, heard: bool, at_once: bool) -> bool:
        """Send the request once more, now or soon, and return whether that may be."""
        attempt = Attempt(
            sent=sent, heard=heard, repeatable=self.head.repeatable, write=self._writes, retries=self.retries
        )
        verdict = may_retry(attempt, room=self._budgeted or cluster.budget.room(cluster.requests.in_flight))
        if not verdict.again:
            return False
        if verdict is Verdict.REPEATABLE and not self._budgeted:
            cluster.budget.begin()
            self._budgeted = True
        self.retries += 1
        self._board.tally.retry(cluster.name, verdict)
        if at_once:
            self._reach(cluster)
        else:
            self._tried = ()
            self._board.call_later(backoff(self.retries, random()), self._reach_again, cluster)  # noqa: S311 -- no secret
        return True

    def _reach_again(self, cluster: Cluster) -> None:
        if not self._over and self._cluster is cluster:
            self._reach(cluster)

    # --- the stack's side ---

    def interim(self, head: ResponseHead) -> None:
        """Pass an interim response on, to a client that can read it."""
        if self.head.minor == 1:
            self._pass(write_response(head, 1, False, b"")[0], None)

    def answered(self, head: ResponseHead, body: bytes, end: Trailers | None) -> None:
        """Send a response's head, and what came with it of its body."""
        request, board = self.head, self._board
        if head.status >= 500 and self._fails_over(head.status):
            return
        self.status = head.status
        self._reusable = head.keep_alive
        close = not request.keep_alive or not self.request_done or board.draining
        if board.identities is not None:
            board.identities.observe(request, head)
        extra = self.facts.cookie_line + self._extra
        if (head.position or self._writes) and self.decision is not None:
            extra += self._note_write(head, self.decision)
        if board.server_timing or request.override:
            extra += self._told()
        line, framing = write_response(head, request.minor, close, extra)
        self._close = close or framing is _CLOSE
        self._framing = framing
        self._begun = True
        if framing is _CHUNKED:
            body = _framed(body, end)
        self._pass(line + body, end)

    def _told(self) -> bytes:
        """Return what is told of the way that the request took: to testers all, to others what is open to them."""
        decision, now = self.decision, monotonic()
        timing = server_timing(now - self.began, now - self.asked_at, decision.stack if decision else "")
        if decision is None or self.facts.override is None:
            return timing if self._board.server_timing else b""
        return timing + why(decision, self._board.table, self.facts.visitor_if_known)

    def continued(self, body: bytes, end: Trailers | None) -> None:
        """Send more of a response's body."""
        self._pass(_framed(body, end) if self._framing is _CHUNKED else body, end)

    def _pass(self, data: bytes, end: Trailers | None) -> None:
        downstream = self._downstream
        if downstream.transport.is_closing():
            self.abandon()
            return
        self.sent += len(data)
        downstream.transport.write(data)
        if end is None:
            self._progress(monotonic())
            return
        self._part(broken=not (self._reusable and self.request_done), answered=self.status not in FAILURES)
        self._settle(self.status)
        downstream.exchange_over(self._close)

    def switched(self, head: ResponseHead, rest: bytes) -> None:
        """Join both connections: the stack has agreed to the upgrade."""
        upstream, endpoint, downstream = self._upstream, self._endpoint, self._downstream
        if not self.head.upgrade or upstream is None or endpoint is None:
            self.garbled("101 to a request without Upgrade")
            return
        self._pass(write_response(head, 1, False, b"")[0] + rest, None)
        if self._over:  # the client left just now
            return
        early = downstream.release()
        self._upstream = upstream.exchange = None
        self._part(broken=False, answered=True)
        if early:
            upstream.transport.write(early)
        lost: Callable[[], None] = partial(endpoint.lost, upstream)
        if self._writes and self._lane is not None:  # whoever waits for the last write waits for this, too
            self._lane.series.begun += 1
            lost = partial(_write_over, endpoint, upstream, self._lane.series)
        open_tunnel(self._board, downstream.transport, upstream.transport, lost, downstream.uncount)
        self._settle(101)

    def upstream_full(self, full: bool) -> None:
        """Stop or go on taking the request, as the stack reads."""
        self._downstream.choke(full)

    def upstream_lost(self) -> None:
        """End, or begin again where that is safe: the connection to the stack is gone."""
        upstream, cluster = self._upstream, self._cluster
        if upstream is None or cluster is None:
            return
        heard, begun = upstream.heard, self._begun
        endpoint = self._drop_connection(broken=True)
        if self._stale and not self._fresh and not heard and self.head.repeatable and not self._writes:
            self._fresh = True  # the server has closed what it thought idle: that is no failure
            self._reach(cluster)
            return
        if endpoint is not None:
            cluster.suspect(endpoint, monotonic())
        if begun or not self._try_again(cluster, sent=True, heard=heard, at_once=False):
            self._stumble("truncated" if begun else "reset", 502, "The application broke the connection off.", False)
        else:
            self._fresh = True
            self._count_failure("reset")

    def garbled(self, what: str) -> None:
        """End because what came from the stack cannot be passed on."""
        self._stumble("garbled", 502, f"The application's answer was no proper HTTP: {what}.", False)

    # --- the end ---

    def _fails_over(self, status: int) -> bool:
        """Have the monolith answer in place of a service that says with ``status`` that it cannot."""
        if status not in fallback.FAILURES or not self._may_fall_back():
            return False
        self._count_failure("status")
        self._part(broken=True, answered=status not in FAILURES)
        self._fall_back("status")
        return True

    def _may_fall_back(self) -> bool:
        decision, board = self.decision, self._board
        if decision is None or decision.stack is not _SERVICE:
            return False
        guard = board.guards.get(decision.capability)
        if guard is None:
            return False
        monolith = board.pool.clusters[MONOLITH].requests
        verdict = may_fall_back(
            decision,
            guard.state,
            allowed=guard.fallback,
            begun=self._begun,
            replayable=self.head.framing is _NONE and not self.head.upgrade,
            room=monolith.in_flight < monolith.most,
        )
        board.tally.fallback(decision.capability or "", verdict)
        return verdict is fallback.Verdict.FALLBACK

    def _fall_back(self, kind: str) -> None:
        decision = self.decision
        assert decision is not None  # noqa: S101 -- it sent the request to a service
        self.decision = replace(decision, stack=Stack.MONOLITH, upstream=MONOLITH, why=Why.FALLBACK)
        board = self._board
        series = board.tally.series(decision.capability or "", Stack.MONOLITH, Why.FALLBACK)
        if self._lane is not None:
            self._lane.series.begun -= 1
        series.begun += 1
        self._lane = Lane(self.decision, board.pool.clusters[MONOLITH], None, series)
        self.fell_back = True
        self._extra += fallback_line(Failure(kind))
        self._voucher = b""  # the monolith knows its visitors
        self._tried = ()
        self._fresh = self._over = False
        self._until = inf  # the monolith has time of its own
        self._progress(monotonic())
        self._enter(self._lane.cluster)

    def _stumble(self, kind: str, status: int, detail: str, answered: bool | None) -> None:
        """Note that a stack failed the request, and have another answer it or fail it."""
        if self._over:
            return
        self._count_failure(kind)
        self._part(broken=True, answered=answered)
        if not self._begun and self._may_fall_back():
            self._fall_back(kind)
            return
        self._over = False
        self._fail(status, detail)

    def _fail(self, status: int, detail: str, retry_after: int = 1, lines: bytes = b"") -> None:
        """Answer with a problem if the client has seen nothing yet, else break its connection."""
        if self._over:
            return
        self._part(broken=True, answered=None)
        downstream = self._downstream
        if self._begun:
            self._settle(self.status)
            downstream.break_off(self._framing)
            return
        close = self._close or not self.request_done or not self.head.keep_alive or self._board.draining
        data = write_problem(
            Problem(status=status, detail=detail, retry_after=retry_after if status in (429, 503) else None),
            self.trail.request_id.decode("ascii"),
            accept=self.head.header(b"accept"),
            head_only=self.head.method == "HEAD",
            close=close,
            extra=lines,
        )
        self.sent += len(data)
        downstream.transport.write(data)
        self._settle(status)
        downstream.exchange_over(close)

    def _part(self, broken: bool, answered: bool | None) -> None:
        """Part from the stack; ``answered`` is what that tells of it, None for nothing."""
        self._over = True
        endpoint = self._drop_connection(broken)
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            if self._budgeted:
                cluster.budget.end()
                self._budgeted = False
            cluster.ended(self._ticket, answered, endpoint)
        if self._guard is not None and self._guard.bulkhead is not None:
            self._guard.bulkhead.leave()
            self._guard = None
        if self._downstream.choked:
            self._downstream.choke(False)

    def _drop_connection(self, broken: bool) -> Endpoint | None:
        """Give the stack's connection back; ``broken`` ones are not used again. Return the endpoint that was asked."""
        endpoint, self._endpoint = self._endpoint, None
        if endpoint is not None:
            endpoint.pending -= 1
        upstream, self._upstream = self._upstream, None
        if upstream is None:
            return endpoint
        upstream.exchange = None
        # A stack may answer what it has not read; another request would wait behind the rest, perhaps for ever.
        unread = self.head.framing is not _NONE and upstream.transport.get_write_buffer_size() > 0
        if broken or unread or upstream.surplus or upstream.transport.is_closing():
            upstream.transport.abort()
            return endpoint
        if self._paused:
            upstream.transport.resume_reading()
        upstream.endpoint.release(upstream)
        return endpoint

    def _count_failure(self, kind: str) -> None:
        self.failure = kind
        self._board.tally.failure(self.decision.upstream if self.decision is not None else "", kind)

    def _progress(self, now: float) -> None:
        waiting = self.request_done and not self._begun
        cluster, timeouts = self._cluster, self._board.timeouts
        if not waiting:
            patience = timeouts.stream_idle
        else:
            patience = timeouts.first_byte if cluster is None else cluster.first_byte
        self._downstream.deadline = min(now + patience, self._until)

    def _settle(self, status: int) -> None:
        board, lane = self._board, self._lane
        seconds = monotonic() - self.began
        board.tally.in_flight -= 1
        if lane is not None:
            lane.series.count(self.head.method, status, seconds)
        else:
            board.tally.series("", "none", "refused").count(self.head.method, status, seconds)
        if board.log is not None or self.trail.sampled:
            account(board, self, status, seconds)


def _write_over(endpoint: Endpoint, upstream: Upstream, series: Series) -> None:
    series.begun -= 1
    endpoint.lost(upstream)


def _framed(piece: bytes, end: Trailers | None) -> bytes:
    framed = chunk(piece) if piece else b""
    return framed if end is None else framed + last_chunk(end)
