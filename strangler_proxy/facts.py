"""What the routing decision may ask of a request, looked up only when asked."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from secrets import token_urlsafe
from time import time
from typing import Final
from urllib.parse import parse_qsl

from strangler.capability import Stack
from strangler.routing.causal import Applied, Token
from strangler.routing.keys import Keys, read_override, read_visitor, sign_visitor
from strangler_proxy.causal import token_in, unknown
from strangler_proxy.forwarded import Peer
from strangler_proxy.http1.head import RequestHead
from strangler_proxy.http1.hygiene import find_cookie

# A year: longer than any move of a capability, and the longest that browsers keep to.
_MAX_AGE: Final = 31_536_000
# Django's DATA_UPLOAD_MAX_NUMBER_FIELDS is 1,000; a cohort's parameter stands among the first.
_QUERY_FIELDS: Final = 1000


_LONGEST_TOKEN: Final = 128  # a visitor's has 87 characters at most


@lru_cache(maxsize=16_384)  # who asks once asks again: 0.1 instead of 3.3 us. About 4 MB when full
def _visitor_in(token: bytes, keys: Keys) -> str | None:
    return read_visitor(token.decode("latin-1"), keys)


class RequestFacts:
    """The facts of one request from ``peer``. ``cookie_line`` is the header to add to its response, mostly empty.

    ``applied`` tells how far the streams are.
    """

    __slots__ = ("_head", "_keys", "_peer", "_visitor", "applied", "cookie_line", "method", "path")

    def __init__(self, head: RequestHead, peer: Peer, keys: Keys | None, applied: Applied = unknown) -> None:
        self._head = head
        self._peer = peer
        self._keys = keys
        self._visitor = ""
        self.applied = applied
        self.cookie_line = b""
        self.method = head.method
        self.path = head.path

    @property
    def client(self) -> str:
        return self._peer.client(self._head)

    @property
    def host(self) -> str:
        host = (self._head.host or b"").decode("latin-1").lower()
        return host[: host.index("]") + 1] if host.startswith("[") else host.partition(":")[0]

    def header(self, name: str) -> str | None:
        value = self._head.header(name.lower().encode("latin-1"))
        return None if value is None else value.decode("latin-1")

    def cookie(self, name: str) -> str | None:
        value = find_cookie(self._head.cookies, name.encode("latin-1"))
        return None if value is None else value.decode("latin-1")

    def query_value(self, name: str) -> str | None:
        query = self._head.target.partition(b"?")[2].decode("latin-1")
        try:
            fields = parse_qsl(query, keep_blank_values=True, max_num_fields=_QUERY_FIELDS)
        except ValueError:
            return None
        return next((value for key, value in fields if key == name), None)

    @property
    def override(self) -> tuple[str, Stack] | None:
        token = self._head.override
        if not token or self._keys is None:
            return None
        return read_override(token.decode("latin-1"), self._keys, time())

    @property
    def token(self) -> Token | None:
        cookies = self._head.causal
        return None if cookies is None or self._keys is None else token_in(cookies, self._keys, time())

    @property
    def visitor(self) -> str:
        """The visitor's id: from its signed cookie, else its credential, else a new one that the response sets."""
        if not self._visitor:
            self._visitor = self._known() or self._new()
        return self._visitor

    @property
    def visitor_if_known(self) -> str | None:
        """The visitor's id as far as it was asked for, or is known without making a new one."""
        return self._visitor or self._known()

    def _known(self) -> str | None:
        head = self._head
        if head.visitor and self._keys is not None and len(head.visitor) <= _LONGEST_TOKEN:
            visitor = _visitor_in(head.visitor, self._keys)
            if visitor is None and self._keys.second is not None:
                visitor = self._signed_anew(head.visitor, self._keys.second)
            if visitor is not None:
                return visitor
        if head.authorization:
            return sha256(head.authorization).hexdigest()
        return None

    def _signed_anew(self, token: bytes, second: Keys) -> str | None:
        """Return the visitor in a token that the second secret signed, and have the response bring one of the first."""
        visitor = _visitor_in(token, second)
        if visitor is not None:
            self._sign(visitor)
        return visitor

    def _new(self) -> str:
        visitor = token_urlsafe(16)
        self._sign(visitor)
        return visitor

    def _sign(self, visitor: str) -> None:
        if self._keys is not None:
            token = sign_visitor(visitor, self._keys)
            secure = "; Secure" if self._peer.secure(self._head) else ""
            self.cookie_line = (
                f"Set-Cookie: strangler_visitor={token}; Path=/; Max-Age={_MAX_AGE}; HttpOnly; SameSite=Lax{secure}\r\n"
            ).encode("ascii")
