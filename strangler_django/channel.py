"""The channel between the proxy and the monolith: HMAC-SHA256 (RFC 2104) with a secret that both have.

A question carries when it was asked (Unix seconds), a nonce, and a signature over both and over the digest of its body.
The answer carries a signature over the nonce and the digest of its own body: it belongs to that question, and comes
from somebody who knows the secret. A question that is replayed within its 30 seconds gives nothing away that its
recorded answer did not; no nonce is kept, since that would want a store that all processes share.
"""

from __future__ import annotations

import hmac
import re
import time
from hashlib import sha256
from typing import Mapping

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

ASKED_AT = "Strangler-Asked-At"
NONCE = "Strangler-Nonce"
SIGNATURE = "Strangler-Signature"

MIN_SECRET = 32
# How far the clocks of two machines may be apart, and how long a question is on its way at most.
SKEW = 30

_NONCE = re.compile(r"[0-9a-f]{32}")
_SECONDS = re.compile(r"[0-9]{1,12}")


class SecretTooShort(ImproperlyConfigured):
    """``STRANGLER_IDENTITY_SECRET`` could be guessed: set at least 32 random bytes."""


class Refused(Exception):
    """A question that the proxy did not ask, or not now. Compare both secrets, then both clocks."""


def secret() -> bytes:
    """Return the secret of the settings, empty when there is none. Raises ``SecretTooShort``."""
    found = str(getattr(settings, "STRANGLER_IDENTITY_SECRET", None) or "").encode()
    if found and len(found) < MIN_SECRET:
        raise SecretTooShort(
            f"STRANGLER_IDENTITY_SECRET has {len(found)} bytes; it wants at least {MIN_SECRET} random ones"
        )
    return found


def check_question(headers: Mapping[str, str], body: bytes, key: bytes, now: float | None = None) -> str:
    """Return the nonce of a question that the proxy asked just now. Raises ``Refused``."""
    asked_at, nonce = headers.get(ASKED_AT, ""), headers.get(NONCE, "")
    if _SECONDS.fullmatch(asked_at) is None or _NONCE.fullmatch(nonce) is None:
        raise Refused("the question is not signed")
    expected = sign(key, "question", asked_at, nonce, body)
    if not hmac.compare_digest(headers.get(SIGNATURE, "").encode(), expected.encode()):
        raise Refused("the question is signed with another secret")
    if abs((time.time() if now is None else now) - int(asked_at)) > SKEW:
        raise Refused("the question is too old, or of the future: the clocks are more than 30 s apart")
    return nonce


def sign_answer(key: bytes, nonce: str, body: bytes) -> str:
    """Return the signature of the answer to the question with ``nonce``."""
    return sign(key, "answer", "", nonce, body)


def mark(key: bytes, kind: str, text: str) -> str:
    """Return what stands for a session, a user or everybody where the proxy is told to forget.

    Nobody without the secret can make one, or tell from one whom it stands for.
    """
    words = "\n".join(("strangler-identity", "forget", kind, text))
    return hmac.new(key, words.encode(), sha256).hexdigest()[:32]


def sign(key: bytes, use: str, asked_at: str, nonce: str, body: bytes) -> str:
    """Return the signature of one message; ``use`` keeps a question from passing for an answer."""
    text = "\n".join(("strangler-identity", use, asked_at, nonce, sha256(body).hexdigest()))
    return hmac.new(key, text.encode(), sha256).hexdigest()
