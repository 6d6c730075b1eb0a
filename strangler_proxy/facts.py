"""What the routing decision may ask of a request, looked up only when asked."""

from __future__ import annotations

from hashlib import sha256
from secrets import token_urlsafe
from time import time
from typing import Final
from urllib.parse import parse_qsl

from strangler.capability import Stack
from strangler.routing.keys import Keys, read_override, read_visitor, sign_visitor
from strangler_proxy.http1.head import RequestHead
from strangler_proxy.http1.hygiene import find_cookie

# A year: longer than any move of a capability, and the longest that browsers keep to.
_MAX_AGE: Final = 31_536_000
# Django's DATA_UPLOAD_MAX_NUMBER_FIELDS is 1,000; a cohort's parameter stands among the first.
_QUERY_FIELDS: Final = 1000


class RequestFacts:
    """The facts of one request. ``cookie_line`` is the header to add to its response, mostly empty."""

    __slots__ = ("_head", "_keys", "_visitor", "client", "cookie_line", "method", "path", "secure")

    def __init__(self, head: RequestHead, client: str, secure: bool, keys: Keys | None) -> None:
        self._head = head
        self._keys = keys
        self._visitor = ""
        self.client = client
        self.cookie_line = b""
        self.method = head.method
        self.path = head.path
        self.secure = secure

    @property
    def host(self) -> str:
        host = (self._head.host or b"").decode("latin-1").lower()
        return host[: host.index("]") + 1] if host.startswith("[") else host.partition(":")[0]

    def header(self, name: str) -> str | None:
        value = self._head.header(name.lower().encode("latin-1"))
        return None if value is None else value.strip().decode("latin-1")

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
    def visitor(self) -> str:
        """The visitor's id: from its signed cookie, else its credential, else a new one that the response sets."""
        if not self._visitor:
            self._visitor = self._known() or self._new()
        return self._visitor

    def _known(self) -> str | None:
        head = self._head
        if head.visitor and self._keys is not None:
            visitor = read_visitor(head.visitor.decode("latin-1"), self._keys)
            if visitor is not None:
                return visitor
        if head.authorization:
            return sha256(head.authorization).hexdigest()
        return None

    def _new(self) -> str:
        visitor = token_urlsafe(16)
        if self._keys is not None:
            token = sign_visitor(visitor, self._keys)
            secure = "; Secure" if self.secure else ""
            self.cookie_line = (
                f"Set-Cookie: strangler_visitor={token}; Path=/; Max-Age={_MAX_AGE}; HttpOnly; SameSite=Lax{secure}\r\n"
            ).encode("ascii")
        return visitor
