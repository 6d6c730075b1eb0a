"""The question who a visitor is, as the monolith reads it, and its answer: bytes only, no I/O.

Question and answer are signed with a secret that both sides have (HMAC-SHA256). The question says when it was asked,
and carries a nonce; the answer's signature covers that nonce, so that it cannot be another question's answer, nor
somebody else's than the monolith's. Read and written again by strangler_django.channel: the two share a contract and
no code.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

Claims = dict[str, Any]

_COOKIE: Final = re.compile(r"[ -~]{1,4096}")
_VIA: Final = ("session", "token")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What a client shows of who it is: a session cookie's value, an ``Authorization`` header, or both.

    ``key`` stands for it wherever it is remembered, since a credential itself should be nowhere but on its way.
    """

    session: bytes
    authorization: bytes
    key: bytes

    @classmethod
    def of(cls, session: bytes, authorization: bytes) -> Credential:
        key = sha256(b"%d:%b%b" % (len(session), session, authorization)).digest()
        return cls(session=session, authorization=authorization, key=key)

    def __repr__(self) -> str:
        return f"Credential({self.key.hex()[:8]})"


class Unanswered(Exception):
    """The monolith did not say who a visitor is. Compare the secrets, the clocks and the address it is asked at."""


def write_question(
    credential: Credential,
    permissions: Sequence[str],
    *,
    secret: bytes,
    nonce: str,
    now: float,
    path: str,
    host: bytes,
    lines: bytes,
) -> bytes:
    """Return the whole request. ``host`` and ``lines`` (forwarded headers) are those of the visitor's own request.

    With them, the question passes whatever that request would pass: allowed hosts, a redirect to https.
    """
    asked = {
        "session": credential.session.decode("latin-1"),
        "authorization": credential.authorization.decode("latin-1"),
        "permissions": list(permissions),
    }
    body = json.dumps(asked).encode("ascii")
    asked_at = str(int(now))
    return (
        b"POST %b HTTP/1.1\r\nHost: %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
        b"Strangler-Asked-At: %b\r\nStrangler-Nonce: %b\r\nStrangler-Signature: %b\r\n%b\r\n%b"
        % (
            path.encode("ascii"),
            host,
            len(body),
            asked_at.encode("ascii"),
            nonce.encode("ascii"),
            _sign(secret, "question", asked_at, nonce, body),
            lines,
            body,
        )
    )


def read_answer(status: int, signature: bytes, body: bytes, *, secret: bytes, nonce: str) -> Claims | None:
    """Return who the visitor is, None for nobody. Raises ``Unanswered``."""
    if status != 200:
        raise Unanswered(f"it answers {status}: {_detail(body)}")
    if not hmac.compare_digest(signature, _sign(secret, "answer", "", nonce, body)):
        raise Unanswered("its answer is signed with another secret")
    try:
        found = json.loads(body)["identity"]
    except (ValueError, KeyError, TypeError) as exc:
        raise Unanswered("its answer is none that this release understands") from exc
    if found is not None and not _is_identity(found):
        raise Unanswered("its answer is none that this release understands")
    return found if found is None else dict(found)


def read_cookie(body: bytes, name: str) -> bytes:
    """Return the value of ``Set-Cookie`` that renews the session cookie ``name``, empty for none, of a read answer."""
    found = json.loads(body).get("cookie", "")
    whole = isinstance(found, str) and _COOKIE.fullmatch(found) is not None and found.startswith(f"{name}=")
    return found.encode("ascii") if whole else b""


def mark(secret: bytes, kind: str, text: bytes) -> bytes:
    """Return what stands for a ``session``, a ``subject`` or ``everybody`` where the monolith says whom to forget.

    Nobody without the secret can make one, so that one that is met needs no other proof.
    """
    words = b"\n".join((b"strangler-identity", b"forget", kind.encode("ascii"), text))
    return hmac.new(secret, words, sha256).hexdigest()[:32].encode("ascii")


def _detail(body: bytes) -> str:
    """Return why the monolith refuses, as far as it says so in the way that was agreed on."""
    try:
        detail = json.loads(body)["detail"]
    except (ValueError, KeyError, TypeError):
        return "is strangler_django installed, and its secret set?"
    return str(detail)[:200]


def _is_identity(found: object) -> bool:
    return (
        isinstance(found, dict)
        and all(isinstance(found.get(name), str) for name in ("subject", "name"))
        and isinstance(found.get("staff"), bool)
        and all(_are_words(found.get(name)) for name in ("groups", "permissions"))
        and found.get("via") in _VIA
        and isinstance(found.get("csrf", ""), str)
    )


def _are_words(found: object) -> bool:
    return isinstance(found, list) and all(isinstance(each, str) for each in found)


def _sign(secret: bytes, use: str, asked_at: str, nonce: str, body: bytes) -> bytes:
    text = "\n".join(("strangler-identity", use, asked_at, nonce, sha256(body).hexdigest()))
    return hmac.new(secret, text.encode("ascii"), sha256).hexdigest().encode("ascii")
