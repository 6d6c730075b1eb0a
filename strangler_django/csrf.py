"""What services may know of a CSRF secret that is kept in the session (``CSRF_USE_SESSIONS``).

Services compare a form's token with the cookie; without one they need something to compare with, and not the secret
itself: a digest under a salt, both the same as long as the secret is. Read again by strangler.service.csrf.
"""

from __future__ import annotations

import hmac
import string
from hashlib import sha256
from typing import Any

from django.conf import settings

from strangler_django.channel import mark, secret

# Django's own (django.middleware.csrf): before 4.0 the session, too, held the secret behind a pad.
_KEY = "_csrftoken"
_LETTERS = string.ascii_letters + string.digits
_LENGTH = 32


def digest_in(session: Any) -> str:
    """Return ``SALT.DIGEST`` of the secret in ``session``, empty where it is not kept there."""
    found = session.get(_KEY) if settings.CSRF_USE_SESSIONS else None
    if not isinstance(found, str) or len(found) not in (_LENGTH, 2 * _LENGTH) or not set(found) <= set(_LETTERS):
        return ""
    plain = _unmasked(found)
    salt = mark(secret(), "csrf", plain)
    return f"{salt}.{hmac.new(salt.encode(), plain.encode(), sha256).hexdigest()}"


def _unmasked(token: str) -> str:
    if len(token) == _LENGTH:
        return token
    pairs = zip(token[:_LENGTH], token[_LENGTH:])
    return "".join(_LETTERS[_LETTERS.index(cipher) - _LETTERS.index(pad)] for pad, cipher in pairs)
