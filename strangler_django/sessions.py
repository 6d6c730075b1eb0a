"""Sessions that slide while their visitors are with services.

Where each request prolongs a session (``SESSION_SAVE_EVERY_REQUEST``), whoever only meets services would be logged
out. So a question prolongs it, too: its expiry alone, in one conditional UPDATE that no request waits for, at most once
a minute however many ask. What is in the session is not written, and nothing that a request writes meanwhile is lost.
The browser's cookie has an expiry of its own, so that a fresh one goes along with the answer.

Engines: ``db``, ``cached_db``, ``cache`` and what inherits them. Sessions in signed cookies and files do not.
``STRANGLER_PROLONG_SESSIONS`` says whether it should, where a middleware of the project's own does it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.cache import caches
from django.http import HttpResponse

# At most one write in so many seconds, and four in the life of a short session.
MOST_OFTEN = 60


def prolong(store: Any) -> str:
    """Prolong the session in ``store`` if it is time, and return the cookie to send along, empty for none."""
    if not getattr(settings, "STRANGLER_PROLONG_SESSIONS", settings.SESSION_SAVE_EVERY_REQUEST):
        return ""
    age = store.get_expiry_age()
    if age <= 0 or not _is_prolonged(store, age, min(MOST_OFTEN, age // 4)):
        return ""
    return "" if store.get_expire_at_browser_close() else _cookie(store.session_key, age)


def _is_prolonged(store: Any, age: int, pause: int) -> bool:
    model = getattr(store, "model", None)
    if model is not None:
        until = store.get_expiry_date()
        due = model.objects.filter(session_key=store.session_key, expire_date__lt=until - timedelta(seconds=pause))
        prolonged = bool(due.update(expire_date=until))
    else:
        prolonged = hasattr(store, "cache_key") and _cache().add(f"strangler.prolonged.{store.session_key}", 1, pause)
    if prolonged and hasattr(store, "cache_key"):
        _cache().touch(store.cache_key, age)
    return prolonged


def _cache() -> Any:
    return caches[settings.SESSION_CACHE_ALIAS]


def _cookie(key: str, age: int) -> str:
    """Return what ``SessionMiddleware`` would set."""
    response = HttpResponse()
    response.set_cookie(
        settings.SESSION_COOKIE_NAME,
        key,
        max_age=age,
        domain=settings.SESSION_COOKIE_DOMAIN,
        path=settings.SESSION_COOKIE_PATH,
        secure=bool(settings.SESSION_COOKIE_SECURE),
        httponly=bool(settings.SESSION_COOKIE_HTTPONLY),
        samesite=settings.SESSION_COOKIE_SAMESITE,
    )
    return str(response.cookies[settings.SESSION_COOKIE_NAME].OutputString())
