"""Who the visitor is, as the proxy vouches for it.

The monolith alone knows its sessions and tokens. The proxy asks it, and tells services in the header
``Strangler-Identity``: a JWT (RFC 7519) signed with the proxy's Ed25519 key, good for half a minute. A service verifies
it with the public key and asks nobody. A request without the header is an anonymous one; a header that does not verify
is an attack or a fault, never an anonymous request.

RFC 8725 is followed: one algorithm, chosen here and not by the token, a type of its own so that no other JWT passes
for one, and issuer and audience checked.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import ExpiredTokenError, JoseError

from strangler.service.errors import Unavailable, Untrusted
from strangler.service.jwks import Keyring, source_of

__all__ = ["HEADER", "Identity", "Unavailable", "Untrusted", "Verifier", "acting", "current", "current_token"]

HEADER: Final = "strangler-identity"

ALGORITHM: Final = "Ed25519"  # RFC 9864's name; "EdDSA" would leave the curve open
TYPE: Final = "strangler-identity+jwt"
ISSUER: Final = "strangler"
AUDIENCE: Final = "services"
# Between two machines that are told the time by NTP.
_LEEWAY: Final = 5
_VIA: Final = ("session", "token")
_CSRF: Final = re.compile(r"(?:[0-9a-f]{32}\.[0-9a-f]{64})?")
_TOKEN: Final = re.compile(r"([A-Za-z0-9_-]{1,512})\.[A-Za-z0-9_-]{1,32768}\.[A-Za-z0-9_-]{86}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A visitor whom the monolith knows.

    ``subject`` is the user's id as text. ``permissions`` are those of which the project asks, and no others. ``via``
    is ``"session"`` for a browser's cookie, which other sites can make it send (see ``csrf``), or ``"token"``.
    ``csrf`` is what to compare a form's token with where the monolith keeps its secret in the session, else empty.
    """

    subject: str
    name: str
    staff: bool
    groups: frozenset[str]
    permissions: frozenset[str]
    via: str
    csrf: str = ""


_CURRENT: Final[ContextVar[tuple[Identity, str] | None]] = ContextVar("strangler_service_identity", default=None)


def current() -> Identity | None:
    """Return whose request the running task or thread answers; None is an anonymous visitor."""
    found = _CURRENT.get()
    return found[0] if found else None


def current_token() -> str | None:
    """Return the token that came with the request being answered, to be sent along with a call to another service."""
    found = _CURRENT.get()
    return found[1] or None if found else None


@contextmanager
def acting(identity: Identity | None, token: str | None = None) -> Iterator[None]:
    """Make ``identity`` the current one inside the ``with``; the chassis does so around each request."""
    before = _CURRENT.set((identity, token or "") if identity else None)
    try:
        yield
    finally:
        _CURRENT.reset(before)


class Verifier:
    """Tells whom a token names. One for a process; safe to use from several threads."""

    def __init__(self, keys: Keyring, *, clock: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._clock = clock

    def __repr__(self) -> str:
        return f"Verifier({self._keys!r})"

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Verifier | None:
        """Return the verifier whose keys are at ``STRANGLER_JWKS``, None when it is not set.

        It is the address of the proxy's ``/jwks.json``, or the path of a file. Raises ``SettingRefused``.
        """
        place = env.get("STRANGLER_JWKS", "")
        return cls(Keyring(source_of(place))) if place else None

    def identify(self, token: str) -> Identity:
        """Return whom ``token`` names; may wait for the proxy's keys, two seconds at most.

        Raises ``Untrusted`` for a token that does not verify, ``Unavailable`` when the keys cannot be had.
        """
        kid = _key_id(token)
        return _read(token, self._keys, kid, int(self._clock()))

    async def aidentify(self, token: str) -> Identity:
        """Do as ``identify`` does, without keeping the event loop from its other requests."""
        if self._keys.at_hand(_key_id(token)):
            return self.identify(token)
        return await asyncio.to_thread(self.identify, token)


def _key_id(token: str) -> str:
    """Return which key the token claims to be signed with, having looked at nothing but its header."""
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise Untrusted("it is no token")
    try:
        header = json.loads(urlsafe_b64decode(match[1] + "=" * (-len(match[1]) % 4)))
    except ValueError as error:
        raise Untrusted("it is no token") from error
    # Nothing else may stand there: what a header could ask for (crit, jku, x5c ...) is how verifiers were fooled.
    if not isinstance(header, dict) or header.keys() != {"alg", "typ", "kid"}:
        raise Untrusted("its header is not that of an identity")
    if (header["alg"], header["typ"]) != (ALGORITHM, TYPE) or not isinstance(header["kid"], str):
        raise Untrusted("its header is not that of an identity")
    return header["kid"]


def _read(token: str, keys: Keyring, kid: str, now: int) -> Identity:
    try:
        claims = jwt.decode(token, keys.find(kid), algorithms=[ALGORITHM]).claims
        _claims(now).validate(claims)
    except ExpiredTokenError as error:
        raise Untrusted("it has expired") from error
    except JoseError as error:
        raise Untrusted(f"it does not verify: {error.error}") from error
    return _identity(claims)


def _claims(now: int) -> jwt.JWTClaimsRegistry:
    return jwt.JWTClaimsRegistry(
        now=now,
        leeway=_LEEWAY,
        iss={"essential": True, "value": ISSUER},
        aud={"essential": True, "value": AUDIENCE},
        sub={"essential": True},
        iat={"essential": True},
        exp={"essential": True},
    )


def _identity(claims: Mapping[str, Any]) -> Identity:
    name, staff, via = claims.get("name"), claims.get("staff"), claims.get("via")
    if not isinstance(name, str) or not isinstance(staff, bool) or via not in _VIA:
        raise Untrusted("its claims are not those of an identity")
    return Identity(
        subject=claims["sub"],
        name=name,
        staff=staff,
        groups=_words(claims.get("groups")),
        permissions=_words(claims.get("permissions")),
        via=via,
        csrf=_digest(claims.get("csrf", "")),
    )


def _digest(raw: object) -> str:
    if not isinstance(raw, str) or _CSRF.fullmatch(raw) is None:
        raise Untrusted("its claims are not those of an identity")
    return raw


def _words(raw: object) -> frozenset[str]:
    if not isinstance(raw, list) or not all(isinstance(each, str) for each in raw):
        raise Untrusted("its claims are not those of an identity")
    return frozenset(raw)
