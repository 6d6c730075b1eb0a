"""What services get to see of a visitor: a JWT (RFC 7519) signed with the installation's Ed25519 key.

The key is derived from the installation's secret, so that every worker of every proxy signs with the same one, and what
one of them vouched for holds with all. Services fetch the public half from the admin port. Another secret makes another
key with another id; while it is the second one, its key is announced and nobody signs with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jwt
from joserfc.jwk import OKPKey

from strangler.routing.keys import Keys

# Read again by strangler.service.identity: the two share a contract and no code.
_ALGORITHM: Final = "Ed25519"  # RFC 9864's name; "EdDSA" would leave the curve open
_TYPE: Final = "strangler-identity+jwt"
_ISSUER: Final = "strangler"
_AUDIENCE: Final = "services"
# Twice as long as an identity is remembered, so that what is sent last is good for as long again.
LIFETIME: Final = 30


def jwks(keys: Keys) -> dict[str, Any]:
    """Return the public keys of ``keys`` as a JWK set: also that of the second, which will sign or has signed."""
    return {"keys": [Signer(each.identity).public() for each in keys.believed]}


class Signer:
    """Signs with the key that ``seed`` (32 bytes) makes."""

    def __init__(self, seed: bytes) -> None:
        self._key = OKPKey.import_key(Ed25519PrivateKey.from_private_bytes(seed))
        self.kid = self._key.thumbprint()  # RFC 7638

    def __repr__(self) -> str:
        return f"Signer({self.kid})"

    def public(self) -> dict[str, Any]:
        """Return the public key as a JWK (RFC 7517)."""
        return {**self._key.as_dict(private=False), "kid": self.kid, "use": "sig", "alg": _ALGORITHM}

    def header(self, identity: Mapping[str, Any], now: float) -> bytes:
        """Return the header line, with its end, that vouches for ``identity`` from ``now`` (Unix seconds) on."""
        issued = int(now)
        claims = {
            "iss": _ISSUER,
            "aud": _AUDIENCE,
            "sub": identity["subject"],
            **{name: identity[name] for name in ("name", "staff", "groups", "permissions", "via")},
            **({"csrf": identity["csrf"]} if identity.get("csrf") else {}),
            "iat": issued,
            "exp": issued + LIFETIME,
        }
        header = {"alg": _ALGORITHM, "typ": _TYPE, "kid": self.kid}
        token = jwt.encode(header, claims, self._key, algorithms=[_ALGORITHM])
        return b"Strangler-Identity: %b\r\n" % token.encode("ascii")
