"""The keys that one secret yields, and the tokens signed with them.

HMAC-SHA256 throughout; each use has a key of its own, so that a token of one kind never passes for another. A visitor
token is ``ID.MAC``; an override is ``CAPABILITY~STACK~EXPIRES.MAC``, EXPIRES in Unix seconds. MACs are the first 16
bytes in unpadded base64url: 128 bits, as RFC 2104 section 5 allows, since the cookie travels with every request.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from strangler.capability import Stack

if TYPE_CHECKING:
    from _hashlib import HASH

_VISITOR: Final = re.compile(r"[A-Za-z0-9_-]{16,64}")
_WISH: Final = re.compile(rf"([^~]+)~({'|'.join(Stack)})~([0-9]{{1,15}})")
MIN_SECRET: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)  # equal by identity: hashed on each request
class Keys:
    """One key for each use, derived from the installation's secret; ``identity`` is the seed of an Ed25519 key.

    ``second`` are those of a secret that is about to come, or about to go: believed, and never signed with.
    """

    table: bytes
    visitor: bytes
    override: bytes
    identity: bytes
    causal: bytes
    watermark: bytes
    second: Keys | None = None

    @classmethod
    def derive(cls, secret: str, second: str = "") -> Keys:
        """Return the keys of ``secret``. Raises ``ValueError`` when one is shorter than 32 bytes."""
        raw = secret.encode()
        if len(raw) < MIN_SECRET:
            raise ValueError(f"the secret has {len(raw)} bytes; it wants at least {MIN_SECRET} random ones")
        return cls(
            table=_derive(raw, b"table"),
            visitor=_derive(raw, b"visitor"),
            override=_derive(raw, b"override"),
            identity=_derive(raw, b"identity"),
            causal=_derive(raw, b"causal"),
            watermark=_derive(raw, b"watermark"),
            second=cls.derive(second) if second else None,
        )

    @property
    def believed(self) -> tuple[Keys, ...]:
        return (self,) if self.second is None else (self, self.second)


def _derive(secret: bytes, use: bytes) -> bytes:
    return hmac.new(secret, b"strangler/" + use, sha256).digest()


def sign_visitor(visitor: str, keys: Keys) -> str:
    """Return the cookie value that carries ``visitor``."""
    return f"{visitor}.{_mac(visitor, keys.visitor)}"


def read_visitor(token: str, keys: Keys) -> str | None:
    """Return the visitor in ``token``, or None when it was not signed with these keys; ``keys.second`` is not tried."""
    visitor, _, mac = token.partition(".")
    if _VISITOR.fullmatch(visitor) is None or not _same(mac, _mac(visitor, keys.visitor)):
        return None
    return visitor


def sign_override(capability: str, stack: Stack, expires: int, keys: Keys) -> str:
    """Return a tester's wish for ``stack`` until ``expires`` (Unix seconds)."""
    wish = f"{capability}~{stack}~{expires}"
    return f"{wish}.{_mac(wish, keys.override)}"


def read_override(token: str, keys: Keys, now: float) -> tuple[str, Stack] | None:
    """Return the capability and stack of ``token``, or None when it is not ours or its time is over."""
    wish, _, mac = token.rpartition(".")
    match = _WISH.fullmatch(wish)
    if match is None or not _signed(mac, wish, keys) or now >= int(match[3]):
        return None
    return match[1], Stack(match[2])


def sign_mark(text: str, keys: Keys) -> str:
    """Return ``text`` signed as a causal token; see ``causal``."""
    return f"{text}.{_mac(text, keys.causal)}"


def is_signed_mark(text: str, mac: str, keys: Keys) -> bool:
    """Return whether ``mac`` is that of a causal token with these keys; ``keys.second`` is believed, too."""
    return any(_same(mac, _mac(text, each.causal)) for each in keys.believed)


def _signed(mac: str, wish: str, keys: Keys) -> bool:
    return any(_same(mac, _mac(wish, each.override)) for each in keys.believed)


def _mac(text: str, key: bytes) -> str:
    inner, outer = _begun(key)
    one, other = inner.copy(), outer.copy()
    one.update(_bytes(text))
    other.update(one.digest())
    return urlsafe_b64encode(other.digest()[:16]).rstrip(b"=").decode()


@lru_cache(maxsize=16)
def _begun(key: bytes) -> tuple[HASH, HASH]:
    """Return RFC 2104's two hashes, each with its block of the key taken in.

    Copying them takes 0.6 us a token; ``hmac.digest`` takes 1.5, since it sets OpenSSL up anew each time.
    """
    block = key.ljust(sha256().block_size, b"\0")
    return sha256(bytes(byte ^ 0x36 for byte in block)), sha256(bytes(byte ^ 0x5C for byte in block))


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(_bytes(one), _bytes(other))


def _bytes(text: str) -> bytes:
    # Lone surrogates pass, so that nothing a client sends raises; no two texts give the same bytes.
    return text.encode("utf-8", "surrogatepass")
