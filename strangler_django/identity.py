"""Who a session cookie or an ``Authorization`` header is, by the monolith's own rules, and without changing either.

The visitor's own requests write sessions; a question about a visitor must not. Django's ``get_user`` would: it ends
a session whose password was changed, and gives one that was signed with a former ``SECRET_KEY`` another id, which
the browser would never learn of. So it is shown a copy.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Iterable

from django.apps import apps
from django.conf import settings
from django.contrib import auth
from django.http import HttpRequest

from strangler_django.csrf import digest_in
from strangler_django.sessions import prolong


def identify(session: str, authorization: str, permissions: Iterable[str]) -> tuple[dict[str, Any] | None, str]:
    """Return who the visitor is, None for nobody, and the cookie of a session that was prolonged by the question.

    A token counts before a session, as in Django REST Framework.

    ``session`` is the cookie's value and ``authorization`` the header's, each empty when there is none;
    ``permissions`` are those that the answer should tell of.
    """
    user, via = _by_token(authorization) if authorization else (None, "")
    store = None
    if not via and session:
        store = import_module(settings.SESSION_ENGINE).SessionStore(session)
        user, via = _by_session(store), "session"
    # A backend may let a user who is not active in; what was switched off stays off here.
    if user is None or not user.is_authenticated or not getattr(user, "is_active", True):
        return None, ""
    digest = digest_in(store) if store is not None else ""
    found = {
        "subject": str(user.pk),
        "name": user.get_username(),
        "staff": bool(getattr(user, "is_staff", False)),
        "groups": sorted(user.groups.values_list("name", flat=True)) if hasattr(user, "groups") else [],
        "permissions": sorted(each for each in permissions if _may(user, each)),
        "via": via,
        **({"csrf": digest} if digest else {}),
    }
    return found, prolong(store) if store is not None else ""


def _may(user: Any, permission: str) -> bool:
    return hasattr(user, "has_perm") and user.has_perm(permission)


def _by_session(store: Any) -> Any:
    request = HttpRequest()
    request.session = _Copy(store.items())
    return auth.get_user(request)


class _Copy(dict):  # type: ignore[type-arg]
    """A session's content. What would be written is forgotten."""

    def flush(self) -> None:
        self.clear()

    def cycle_key(self) -> None:
        pass


def _by_token(authorization: str) -> tuple[Any, str]:
    """Return the user and ``"token"``; no user for a bad token, and ``""`` for a scheme that is nobody's here."""
    if not apps.is_installed("rest_framework.authtoken"):
        return None, ""
    from rest_framework.exceptions import AuthenticationFailed

    request = HttpRequest()
    request.META["HTTP_AUTHORIZATION"] = authorization
    for authentication in _token_authentications():
        try:
            found = authentication().authenticate(request)
        except AuthenticationFailed:
            return None, "token"
        if found is not None:
            return found[0], "token"
    return None, ""


def _token_authentications() -> list[Any]:
    """Return the project's ways to read a token, which may have another keyword or let them expire."""
    from rest_framework.authentication import TokenAuthentication
    from rest_framework.settings import api_settings

    usual = api_settings.DEFAULT_AUTHENTICATION_CLASSES
    return [each for each in usual if issubclass(each, TokenAuthentication)] or [TokenAuthentication]
