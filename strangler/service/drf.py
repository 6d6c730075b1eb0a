"""Who asks a lifted Django REST framework API, for ``DEFAULT_AUTHENTICATION_CLASSES``.

``TokenIdentity`` stands where ``TokenAuthentication`` stood. ``SessionAuthentication`` stays as it is: behind
``strangler.service.django.IdentityMiddleware`` it finds the visitor, and asks for the CSRF token as ever. Where the
monolith keeps that in the session (``CSRF_USE_SESSIONS``), ``SessionIdentity`` stands in its place.
"""

from __future__ import annotations

from typing import Any, NoReturn

from django.utils.translation import gettext_lazy as _
from rest_framework.authentication import SessionAuthentication, TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from strangler.service.csrf import Forged
from strangler.service.django import check_csrf, visitor_of
from strangler.service.identity import current


class SessionIdentity(SessionAuthentication):  # type: ignore[misc]
    """Compares the CSRF token with what the identity tells of the session, where it tells anything."""

    def enforce_csrf(self, request: Request) -> None:
        identity = current()
        if identity is None or not identity.csrf:
            super().enforce_csrf(request)
            return
        try:
            check_csrf(request, identity)
        except Forged as forged:
            raise PermissionDenied(f"CSRF Failed: {forged}") from forged


class TokenIdentity(TokenAuthentication):  # type: ignore[misc]
    """Takes the proxy's word for whose token came, and refuses tokens of which the proxy says nothing."""

    def authenticate(self, request: Request) -> tuple[Any, None] | None:
        identity = current()
        if identity is None or identity.via != "token":
            super().authenticate(request)
            return None
        user = visitor_of(identity)
        return None if user is None else (user, None)

    def authenticate_credentials(self, key: str) -> NoReturn:
        raise AuthenticationFailed(_("Invalid token."))
