"""Whether the monolith would tell the proxy who a visitor is: asked about nobody, as the proxy asks.

The question is that of strangler_proxy.question, written once more: the proxy is a package apart.
"""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from hashlib import sha256
from secrets import token_hex
from typing import Final

import httpx

from strangler.project.values import Identity

# strangler_django refuses questions that are further off.
_SKEW_S: Final = 30
_WARN_S: Final = 15
_NOBODY: Final = json.dumps({"session": "", "authorization": "", "permissions": []}).encode()

Post = Callable[[str, bytes, dict[str, str]], httpx.Response]


def problem(identity: Identity, post: Post) -> str | None:
    """Return what keeps the monolith from answering questions, None for nothing; ``post`` takes path, body, headers."""
    secret, nonce, now = identity.secret.reveal().encode(), token_hex(16), time.time()
    asked_at = str(int(now))
    headers = {
        "Content-Type": "application/json",
        "Strangler-Asked-At": asked_at,
        "Strangler-Nonce": nonce,
        "Strangler-Signature": _sign(secret, "question", asked_at, nonce, _NOBODY),
    }
    response = post(identity.path, _NOBODY, headers)
    found = _refused(response, identity, now) if response.status_code != 200 else None
    if found is None and not _is_signed(response, secret, nonce):
        found = f"{identity.path} answers 200, but not with the secret in [identity]; it is another application's"
    return found or _clock(response, now)


def _refused(response: httpx.Response, identity: Identity, now: float) -> str:
    match response.status_code:
        case 403 if "another secret" in response.text:
            return "the monolith's STRANGLER_IDENTITY_SECRET is another than the secret in [identity]; make them equal"
        case 403 if "clocks" in response.text:
            return f"the clocks are {_skew(response, now)} apart, more than {_SKEW_S} s; have NTP set both"
        case 404:
            return (
                f"there is nothing at {identity.path}; install strangler_django, add it to urls.py, "
                "and set STRANGLER_IDENTITY_SECRET, or mend path in [identity]"
            )
        case 400:
            return (
                "the monolith answers 400; name the host of its endpoint in ALLOWED_HOSTS, or ask by one that is there"
            )
        case 301 | 302 | 307 | 308:
            where = response.headers.get("location", "nowhere")
            return f"the monolith leads on to {where}; name path in [identity] as urls.py has it, slash included"
    return f"{identity.path} answers {response.status_code}; look into the monolith's log"


def _clock(response: httpx.Response, now: float) -> str | None:
    seconds = _seconds(response, now)
    if seconds is None or abs(seconds) < _WARN_S:
        return None
    return f"the clocks are {_skew(response, now)} apart, and beyond {_SKEW_S} s nobody is known; have NTP set both"


def _skew(response: httpx.Response, now: float) -> str:
    seconds = _seconds(response, now)
    return "some time" if seconds is None else f"{abs(seconds):.0f} s"


def _seconds(response: httpx.Response, now: float) -> float | None:
    try:
        return parsedate_to_datetime(response.headers.get("date", "")).timestamp() - now
    except ValueError:
        return None


def _is_signed(response: httpx.Response, secret: bytes, nonce: str) -> bool:
    expected = _sign(secret, "answer", "", nonce, response.content)
    return hmac.compare_digest(response.headers.get("strangler-signature", "").encode(), expected.encode())


def _sign(secret: bytes, use: str, asked_at: str, nonce: str, body: bytes) -> str:
    text = "\n".join(("strangler-identity", use, asked_at, nonce, sha256(body).hexdigest()))
    return hmac.new(secret, text.encode(), sha256).hexdigest()
