"""Which service calls the monolith, and for which visitor, as it proves with ``Strangler-Service``.

Written by strangler.service.calling: the two share a contract and no code. The statement covers the visitor's token, so
that a service that is believed is believed about its visitor, too; the token itself is signed for services.
"""

from __future__ import annotations

import hmac
import json
import re
import time
from base64 import urlsafe_b64decode
from hashlib import sha256
from typing import Any, NamedTuple

from django.conf import settings
from django.core.exceptions import PermissionDenied

AUDIENCE = "monolith"
LIFETIME = 30

_STATEMENT = re.compile(r"([A-Za-z0-9_.-]{1,64})~([0-9]{1,12})~([0-9a-f]{64})")


class Call(NamedTuple):
    """Who calls; ``subject`` is the id of the user for whom it does, empty for a stranger."""

    service: str
    subject: str


def call(request: Any) -> Call | None:
    """Return which service sent ``request``, None for none. Raises ``PermissionDenied`` when it proves nothing.

    Services and their secrets are in ``settings.STRANGLER_CALLERS``: ``{"reviews": "at least 32 random bytes"}``.
    """
    statement = request.headers.get("Strangler-Service")
    if statement is None:
        return None
    voucher = request.headers.get("Strangler-Identity", "")
    match = _STATEMENT.fullmatch(statement)
    secret = getattr(settings, "STRANGLER_CALLERS", {}).get(match[1], "") if match else ""
    if not match or len(secret.encode()) < 32:
        raise PermissionDenied("no service that may call says so")
    bound = sha256(voucher.encode("latin-1", "replace")).hexdigest()
    text = "\n".join(("strangler-service", match[1], AUDIENCE, match[2], request.method, bound))
    mac = hmac.new(secret.encode(), text.encode(), sha256).hexdigest()
    if not hmac.compare_digest(mac, match[3]):
        raise PermissionDenied(f"it says that {match[1]} calls, and does not prove it")
    if abs(time.time() - int(match[2])) > LIFETIME:
        raise PermissionDenied("its statement has expired, or the clocks differ")
    return Call(match[1], _subject(voucher))


def _subject(voucher: str) -> str:
    if not voucher:
        return ""
    try:
        payload = voucher.split(".")[1]
        claims = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        subject, expires = claims["sub"], claims["exp"]
    except (IndexError, KeyError, TypeError, ValueError):
        raise PermissionDenied("the visitor's token is none") from None
    if not isinstance(subject, str) or not isinstance(expires, int) or time.time() > expires + 5:
        raise PermissionDenied("the visitor's token has expired")
    return subject
