"""One question to the monolith on its way, over a connection of the pool, as a request is."""

from __future__ import annotations

import time
from os import urandom
from typing import TYPE_CHECKING, Final, Protocol

from strangler.routing.table import MONOLITH
from strangler_proxy.http1.body import Trailers
from strangler_proxy.http1.head import ResponseHead
from strangler_proxy.question import Credential, write_question

if TYPE_CHECKING:
    from strangler_proxy.endpoint import Endpoint
    from strangler_proxy.identity import Identities
    from strangler_proxy.switchboard import Switchboard
    from strangler_proxy.upstream import Upstream

_LARGEST_ANSWER: Final = 64 * 1024
_SIGNATURE: Final = b"strangler-signature: "


class Waiter(Protocol):
    """Whose request waits for an answer."""

    def identified(self, line: bytes | None) -> None: ...
    def renew(self, lines: bytes) -> None: ...


class Inquiry:
    """Asks who has ``credential``, and tells ``identities``. What is lost is asked again, once: it changes nothing."""

    def __init__(
        self, board: Switchboard, identities: Identities, credential: Credential, host: bytes | None, lines: bytes
    ) -> None:
        self.credential = credential
        self.nonce = urandom(16).hex()
        self.asked_at = board.time()
        self.waiters: list[Waiter] = []
        self._board = board
        self._identities = identities
        self._host = host
        self._lines = lines
        self._upstream: Upstream | None = None
        self._endpoint: Endpoint | None = None
        self._tried: tuple[Endpoint, ...] = ()
        self._repeated = False
        self._over = False
        self._begin()

    def _begin(self) -> None:
        self._status = 0
        self._signature = b""
        self._body = b""
        self._keep_alive = False

    def start(self) -> None:
        """Ask, and take no answer for one when there is none in time."""
        self._timer = self._board.call_later(self._board.timeouts.identity, self._expire)
        self._reach()

    def _reach(self) -> None:
        endpoint = self._board.pool.clusters[MONOLITH].choose(self._tried)
        if endpoint is None:
            self._fail("it cannot be reached")
            return
        self._endpoint = endpoint
        endpoint.pending += 1
        upstream = None if self._repeated else endpoint.take(repeatable=True)
        if upstream is not None:
            self.connected(upstream)
        elif not endpoint.ask(self):
            self._fail("too many requests wait for it")

    # --- who asks for a connection ---

    @property
    def wanted(self) -> bool:
        return not self._over

    def connected(self, upstream: Upstream) -> bool:
        if self._over:
            return False
        self._upstream = upstream
        self._begin()
        self._stale = upstream.used
        asking = self._identities.asking
        upstream.ask(
            self,
            "POST",
            write_question(
                self.credential,
                asking.permissions,
                secret=self._identities.secret,
                nonce=self.nonce,
                now=time.time(),
                path=asking.path,
                host=self._host or upstream.endpoint.authority,
                lines=self._lines,
            ),
        )
        return True

    def unreachable(self, endpoint: Endpoint, kind: str) -> None:
        if self._over:
            return
        endpoint.pending -= 1
        self._endpoint = None
        self._tried = (*self._tried, endpoint)
        self._reach()

    # --- who has one ---

    def interim(self, head: ResponseHead) -> None:
        """Nothing: nobody waits for a hint."""

    def answered(self, head: ResponseHead, body: bytes, end: Trailers | None) -> None:
        self._status = head.status
        self._keep_alive = head.keep_alive
        signatures = [line for line in head.lines if line.lower().startswith(_SIGNATURE)]
        self._signature = signatures[0][len(_SIGNATURE) :] if len(signatures) == 1 else b""
        self.continued(body, end)

    def continued(self, body: bytes, end: Trailers | None) -> None:
        self._body += body
        if len(self._body) > _LARGEST_ANSWER:
            self._fail("its answer is too long")
        elif end is not None:
            self._end(broken=not self._keep_alive)
            self._identities.answered(self, self._status, self._signature, self._body)

    def switched(self, head: ResponseHead, rest: bytes) -> None:
        self._fail("it answers with another protocol")

    def garbled(self, what: str) -> None:
        self._fail(f"its answer was no proper HTTP: {what}")

    def upstream_full(self, full: bool) -> None:
        """A question is short: it waits in the transport's buffer."""

    def upstream_lost(self) -> None:
        upstream = self._upstream
        if upstream is None:
            return
        if self._stale and not self._repeated and not upstream.heard:
            self._let_go(broken=True)
            self._repeated = True
            self._reach()
        else:
            self._fail("it broke the connection off")

    # --- the end ---

    def _expire(self) -> None:
        self._fail(f"it did not answer within {self._board.timeouts.identity:g} s")

    def _fail(self, why: str) -> None:
        if not self._over:
            self._end(broken=True)
            self._identities.unanswered(self, why)

    def _end(self, broken: bool) -> None:
        self._over = True
        self._timer.cancel()
        self._let_go(broken)

    def _let_go(self, broken: bool) -> None:
        endpoint, self._endpoint = self._endpoint, None
        if endpoint is not None:
            endpoint.pending -= 1
        upstream, self._upstream = self._upstream, None
        if upstream is None:
            return
        upstream.exchange = None
        if broken or upstream.surplus or upstream.transport.is_closing():
            upstream.transport.abort()
        else:
            upstream.endpoint.release(upstream)
