"""Who the visitors are, for the services: asked of the monolith, remembered for a moment, never guessed.

Only a request that goes to a service and carries a credential costs anything here. Its visitor is looked up under
the credential's digest; where that is not known, the monolith is asked once, and all requests with that credential
wait for the one answer. It is remembered for 15 s, also when it is "nobody", and so is the token signed for it. What
happens to the visitor in that time without a response passing here (somebody switches the account off, another
worker saw the logout) counts after it; a response that sets or deletes the session cookie, as logging in, logging
out and changing a password do, makes this worker forget at once.

The question travels over the connections that requests travel over, so that the monolith's limits hold for it, too.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from strangler.routing.path import readings
from strangler_proxy.http1.head import RequestHead, ResponseHead
from strangler_proxy.inquiry import Inquiry, Waiter
from strangler_proxy.question import Credential, Unanswered, read_answer
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
        self._silent_until = float("-inf")

    def __repr__(self) -> str:
        return f"<Identities known={len(self._known)} asked={len(self._asked)}>"

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
        """Forget who sent ``request`` when its ``response`` sets or deletes the session cookie."""
        for value in response.cookies:
            if value.startswith(self._sets):
                credential = self.credential(request)
                if credential is not None:
                    self._known.pop(credential.key, None)
                    self._asked.pop(credential.key, None)  # its answer may have been given before
                return

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
        self._settle(inquiry, Known(line, self._board.time() + _REMEMBERED))

    def unanswered(self, inquiry: Inquiry, why: str) -> None:
        """Take it that the monolith did not answer."""
        self._complain(why)
        self.count("failed")
        self._settle(inquiry, Known(None, self._board.time() + _GIVEN_UP))

    def _settle(self, inquiry: Inquiry, known: Known) -> None:
        key = inquiry.credential.key
        if self._asked.get(key) is inquiry:  # else it was outdated while it was asked
            del self._asked[key]
            self._known[key] = known
            self._known.move_to_end(key)
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
        for waiter in inquiry.waiters:
            waiter.identified(known.line)

    def count(self, outcome: str) -> None:
        self._board.tally.identity(outcome)

    def _complain(self, why: str) -> None:
        now = self._board.time()
        if now >= self._silent_until:
            self._silent_until = now + _COMPLAIN_EVERY
            _LOG.warning("the monolith does not say who a visitor is: %s", why)
