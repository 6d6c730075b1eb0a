"""Who the visitors are, for the services: asked of the monolith, remembered for a moment, never guessed.

Only a request that goes to a service and carries a credential costs anything here. Its visitor is looked up under
the credential's digest; where that is not known, the monolith is asked once, and all requests with that credential
wait for the one answer. It is remembered for 15 s, also when it is "nobody", and so is the token signed for it. A
response that sets or deletes the session cookie, as logging in, logging out and changing a password do, makes this
worker forget at once, and so does one in which the monolith names whom it changed (``Strangler-Forget``); all other
workers are told (forgetting.py). What happens to a visitor without any response passing here counts after the 15 s.

The question travels over the connections that requests travel over, so that the monolith's limits hold for it, too.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from strangler.routing.path import readings
from strangler_proxy.forgetting import Forgetting
from strangler_proxy.http1.head import RequestHead, ResponseHead
from strangler_proxy.inquiry import Inquiry, Waiter
from strangler_proxy.question import Claims, Credential, Unanswered, mark, read_answer, read_cookie
from strangler_proxy.settings import Asking
from strangler_proxy.vouch import Signer

if TYPE_CHECKING:
    from strangler_proxy.switchboard import Switchboard

_LOG: Final = logging.getLogger("strangler_proxy")

_REMEMBERED: Final = 15.0
# A monolith that does not answer is not asked about the same visitor by each of a page's requests.
_GIVEN_UP: Final = 0.5
# About 1 kB each; visitors beyond are asked for again.
_MOST_KNOWN: Final = 8192
# Credentials can be made up: no more than this many take the monolith's time at once.
_MOST_ASKED: Final = 128
# What uvicorn and gunicorn take of one header.
_LARGEST_HEADER: Final = 8000
# More than the monolith writes into one response.
_MOST_MARKS: Final = 128
# They matter while a question is under way.
_MOST_FORGOTTEN: Final = 4096
_COMPLAIN_EVERY: Final = 10.0
# Django REST Framework's keyword, and the one that its users like better. Basic would have the monolith hash a
# password for each question, and nothing else is a credential of the monolith's.
_SCHEMES: Final = frozenset((b"token", b"bearer"))

RESERVED: Final = ".strangler"
"""The first segment of the addresses at which proxy and monolith talk. Nobody outside has any business there."""
_WORD: Final = RESERVED.encode()


def is_reserved(path: bytes) -> bool:
    """Return whether ``path`` lies under ``/.strangler``, or may be read so."""
    # "in" would first take what it looks for as a number, and fail at that: 0.2 us each.
    if path.find(_WORD) < 0 and (path.find(b"%") < 0 or _WORD not in unquote_to_bytes(unquote_to_bytes(path))):
        return False
    found = readings(path)
    return not found or any(segments[:1] == (RESERVED,) for segments in found)


def credential_of(head: RequestHead, session_cookie: bytes) -> Credential | None:
    """Return what the request shows of who sent it, None for nothing that the monolith could tell anything about."""
    authorization = head.authorization or b""
    if authorization and authorization.partition(b" ")[0].lower() not in _SCHEMES:
        authorization = b""
    session = _last_cookie(head.cookies, session_cookie) if head.cookies else b""
    return Credential.of(session, authorization) if session or authorization else None


def _last_cookie(cookies: Sequence[bytes], name: bytes) -> bytes:
    """Return the last value of cookie ``name``: of several, that is the one that Django takes."""
    found = b""
    for header in cookies:
        if name in header:
            for part in header.split(b";"):
                key, _, value = part.partition(b"=")
                if key.strip() == name:
                    found = value.strip()
    return found


@dataclass(frozen=True, slots=True)
class Known:
    """What to tell services of a visitor: a header line, empty for nobody, None while the monolith cannot be asked."""

    line: bytes | None
    until: float
    marks: tuple[bytes, ...] = ()


class Identities:
    """The visitors that one worker knows, and the questions that it has asked."""

    def __init__(self, board: Switchboard, asking: Asking, signer: Signer) -> None:
        self.asking = asking
        self.secret = asking.secret.encode()
        self._board = board
        self._signer = signer
        self._cookie = asking.session_cookie.encode("ascii")
        self._sets = self._cookie + b"="
        self._known: OrderedDict[bytes, Known] = OrderedDict()
        self._asked: dict[bytes, Inquiry] = {}
        self._marked: dict[bytes, set[bytes]] = {}  # whose credentials are known, by their marks
        self._forgotten: dict[bytes, float] = {}  # when, of the latest marks
        self._everybody = mark(self.secret, "everybody", b"")
        self._forgetting: Forgetting | None = None
        self._silent_until = float("-inf")

    def __repr__(self) -> str:
        return f"<Identities known={len(self._known)} asked={len(self._asked)}>"

    def share(self, redis: str) -> None:
        """Tell all other workers through Valkey whom to forget, and be told."""
        self._forgetting = Forgetting(redis, self.forget)

    def close(self) -> None:
        if self._forgetting is not None:
            self._forgetting.close()

    def credential(self, head: RequestHead) -> Credential | None:
        return credential_of(head, self._cookie)

    def known(self, credential: Credential) -> Known | None:
        """Return what is remembered of the visitor with ``credential``, None when it must be asked."""
        found = self._known.get(credential.key)
        if found is None or found.until <= self._board.time():
            return None
        self._known.move_to_end(credential.key)
        return found

    def ask(self, credential: Credential, host: bytes | None, lines: bytes, waiter: Waiter) -> None:
        """Have ``waiter`` told as soon as the monolith has answered, or has not."""
        inquiry = self._asked.get(credential.key)
        if inquiry is not None:
            inquiry.waiters.append(waiter)
            return
        if len(self._asked) >= _MOST_ASKED:
            self.count("overload")
            waiter.identified(None)
            return
        inquiry = self._asked[credential.key] = Inquiry(self._board, self, credential, host, lines)
        inquiry.waiters.append(waiter)
        inquiry.start()

    def observe(self, request: RequestHead, response: ResponseHead) -> None:
        """Forget who sent ``request`` when its ``response`` sets or deletes the session cookie, and whom it names."""
        if response.forget:
            self._forget_everywhere(response.forget.split(b",")[:_MOST_MARKS])
        for value in response.cookies:
            if value.startswith(self._sets):
                credential = self.credential(request)
                if credential is not None:
                    self._outdate(credential, value[len(self._sets) :].partition(b";")[0])
                return

    def _outdate(self, credential: Credential, session: bytes) -> None:
        """Forget ``credential``, whose session goes on as ``session``; one that is set again as it was is no news."""
        self._drop(credential.key)
        self._asked.pop(credential.key, None)  # its answer may have been given before
        if credential.session and session != credential.session:
            self._forget_everywhere([mark(self.secret, "session", credential.session)])

    def _forget_everywhere(self, marks: list[bytes]) -> None:
        self.forget(marks)
        if self._forgetting is not None:
            self._forgetting.tell(marks)

    def forget(self, marks: Iterable[bytes]) -> None:
        """Forget everybody for whom one of ``marks`` stands."""
        now = self._board.time()
        for each in marks:
            if each == self._everybody:
                self._asked.clear()  # what is answered now may be as it was before
            keys = list(self._known) if each == self._everybody else list(self._marked.get(each, ()))
            for key in keys:
                self._drop(key)
            self._forgotten.pop(each, None)
            self._forgotten[each] = now
            if len(self._forgotten) > _MOST_FORGOTTEN:
                del self._forgotten[next(iter(self._forgotten))]

    def _is_outdated(self, inquiry: Inquiry, known: Known) -> bool:
        """Return whether its visitor was to be forgotten while it was asked: it may tell what was before."""
        never = float("-inf")
        return any(self._forgotten.get(each, never) >= inquiry.asked_at for each in known.marks)

    def answered(self, inquiry: Inquiry, status: int, signature: bytes, body: bytes) -> None:
        """Take the monolith's answer."""
        try:
            claims = read_answer(status, signature, body, secret=self.secret, nonce=inquiry.nonce)
        except Unanswered as exc:
            self.unanswered(inquiry, str(exc))
            return
        line = self._signer.header(claims, time.time()) if claims is not None else b""
        if len(line) > _LARGEST_HEADER:
            self.unanswered(inquiry, f"what it says of a visitor makes a header of {len(line)} bytes")
            return
        self.count("named" if line else "nobody")
        if (cookie := read_cookie(body, self.asking.session_cookie)) and inquiry.waiters:
            # One response is enough, and it is this visitor's alone, whatever the service says of others.
            inquiry.waiters[0].renew(b"Set-Cookie: %b\r\nCache-Control: private\r\n" % cookie)
        self._settle(inquiry, Known(line, self._board.time() + _REMEMBERED, self._marks(inquiry.credential, claims)))

    def _marks(self, credential: Credential, claims: Claims | None) -> tuple[bytes, ...]:
        subject = [mark(self.secret, "subject", claims["subject"].encode())] if claims is not None else []
        session = [mark(self.secret, "session", credential.session)] if credential.session else []
        return (*subject, *session)

    def unanswered(self, inquiry: Inquiry, why: str) -> None:
        """Take it that the monolith did not answer."""
        self._complain(why)
        self.count("failed")
        self._settle(inquiry, Known(None, self._board.time() + _GIVEN_UP))

    def _settle(self, inquiry: Inquiry, known: Known) -> None:
        key = inquiry.credential.key
        if self._asked.get(key) is inquiry:  # else it was outdated while it was asked
            del self._asked[key]
            if not self._is_outdated(inquiry, known):
                self._remember(key, known)
        for waiter in inquiry.waiters:
            waiter.identified(known.line)

    def _remember(self, key: bytes, known: Known) -> None:
        self._drop(key)
        self._known[key] = known
        for each in known.marks:
            self._marked.setdefault(each, set()).add(key)
        if len(self._known) > _MOST_KNOWN:
            self._drop(next(iter(self._known)))

    def _drop(self, key: bytes) -> None:
        known = self._known.pop(key, None)
        for each in known.marks if known is not None else ():
            keys = self._marked[each]
            keys.discard(key)
            if not keys:
                del self._marked[each]

    def count(self, outcome: str) -> None:
        self._board.tally.identity(outcome)

    def _complain(self, why: str) -> None:
        now = self._board.time()
        if now >= self._silent_until:
            self._silent_until = now + _COMPLAIN_EVERY
            _LOG.warning("the monolith does not say who a visitor is: %s", why)
