"""Identities that a service must refuse, and one that it must believe; made as the proxy makes them.

The header and the claims are those of ``strangler_proxy.vouch`` and ``strangler.service.identity``: a contract of which
each side has its own code.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, Final

HEADER: Final = "Strangler-Identity"
VALID: Final = "valid"
_ALGORITHM: Final = "Ed25519"
_LIFETIME: Final = 30
_LONG_AGO: Final = 3_600

VISITOR: Final[Mapping[str, Any]] = {
    "sub": "2147480047",  # nobody; a number, for services whose users are numbered
    "name": "strangler-check",
    "staff": False,
    "groups": [],
    "permissions": [],
    "via": "token",
}


def made(seed: bytes | None, now: float) -> dict[str, str]:
    """Return tokens by what is wrong with them: ``VALID`` and ``expired`` only with the proxy's ``seed``.

    Without the package joserfc (of ``strangler[service]`` and ``strangler[proxy]``) there are none that are signed.
    """
    unsigned = f"{_part({'alg': 'none', 'typ': 'strangler-identity+jwt', 'kid': 'x'})}.{_part(_claims(now))}."
    found = {"garbage": "strangler-check", "unsigned": unsigned}
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from joserfc import jwt
        from joserfc.jwk import OKPKey
    except ImportError:
        return found
    stranger = OKPKey.generate_key("Ed25519")
    own = OKPKey.import_key(Ed25519PrivateKey.from_private_bytes(seed)) if seed else None

    def signed(key: OKPKey, kid: str, at: float) -> str:
        header = {"alg": _ALGORITHM, "typ": "strangler-identity+jwt", "kid": kid}
        return jwt.encode(header, _claims(at), key, algorithms=[_ALGORITHM])

    found["of a foreign key"] = signed(stranger, stranger.thumbprint(), now)
    if own is not None:
        found["forged"] = signed(stranger, own.thumbprint(), now)
        found["expired"] = signed(own, own.thumbprint(), now - _LONG_AGO)
        found[VALID] = signed(own, own.thumbprint(), now)
    return found


def _claims(at: float) -> dict[str, Any]:
    issued = int(at)
    return {"iss": "strangler", "aud": "services", **VISITOR, "iat": issued, "exp": issued + _LIFETIME}


def _part(told: Mapping[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(told).encode()).rstrip(b"=").decode()
