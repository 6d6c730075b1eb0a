"""What a lifted Django application needs to be a service: its visitors, its labels and its problems.

Import it where Django is; the chassis itself needs none. In the lifted project's settings:

- ``IdentityMiddleware`` stands where ``SessionMiddleware`` and ``AuthenticationMiddleware`` stood. The visitor is the
  one whom the proxy vouches for; nobody logs in here.
- ``RouteMiddleware`` stands first. It labels requests for the metrics, and answers 503 when the database is away.
- ``Visitor`` completes a slim user model that holds no more than the application shows of a user.
- ``database_check`` goes into the checks of ``strangler.service.wsgi.Chassis``, ``database_position`` is its position.

Views, permissions, ``login_required`` and Django's own CSRF middleware go on as they did: that needs no secret that
both stacks share. For Django REST framework there is ``strangler.service.drf``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final

from django.conf import settings
from django.contrib.admindocs.utils import remove_non_capturing_groups, replace_metacharacters, replace_named_groups
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import DatabaseError, InterfaceError, OperationalError, connections
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.cache import patch_vary_headers
from django.utils.functional import SimpleLazyObject

from strangler.service import csrf, problem
from strangler.service.errors import Unavailable
from strangler.service.health import PlainCheck
from strangler.service.identity import Identity, current
from strangler.service.position import QUERY
from strangler.service.wsgi import ROUTE, Position

logger = logging.getLogger(__name__)

_GONE: Final = (Unavailable, OperationalError, InterfaceError)

GetResponse = Callable[[HttpRequest], HttpResponse]


class Visitor:
    """What Django asks of a user beside the columns; a slim user model inherits it first.

    The permissions are those that came with the identity: the ones that the project asks for, and no others.
    """

    USERNAME_FIELD = "username"
    REQUIRED_FIELDS: tuple[str, ...] = ()
    is_anonymous = False
    is_authenticated = True
    is_active = True
    permissions: frozenset[str] = frozenset()

    def has_perm(self, perm: str, obj: object = None) -> bool:
        return perm in self.permissions

    def has_perms(self, perms: Iterable[str], obj: object = None) -> bool:
        return all(self.has_perm(each) for each in perms)

    def has_module_perms(self, app_label: str) -> bool:
        return any(each.startswith(f"{app_label}.") for each in self.permissions)


def visitor_of(identity: Identity) -> Any | None:
    """Return the project's user whom ``identity`` names, None while this database does not know them."""
    model = get_user_model()
    try:
        user = model._default_manager.filter(pk=identity.subject).first()
    except (ValueError, ValidationError):
        return None
    if user is not None:
        # Fresher than the row, which follows the monolith's.
        user.is_staff = identity.staff
        user.permissions = identity.permissions
    return user


class IdentityMiddleware:
    """Sets ``request.user``, looked up when first asked for.

    A token counts for an API only, as it does where the application came from: here it is an anonymous visitor.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        asked = _Asked()
        request.user = SimpleLazyObject(asked)
        response = self._get_response(request)
        if asked.ever:
            patch_vary_headers(response, ("Cookie",))
        return response


class _Asked:
    """Looks the visitor up, and remembers that somebody wanted to know."""

    def __init__(self) -> None:
        self.ever = False

    def __call__(self) -> Any:
        from django.contrib.auth.models import AnonymousUser

        self.ever = True
        identity = current()
        user = visitor_of(identity) if identity is not None and identity.via == "session" else None
        return AnonymousUser() if user is None else user


def check_csrf(request: HttpRequest, identity: Identity) -> None:
    """Return when the request comes from a page of this site, by what ``identity`` tells. Raises ``csrf.Forged``."""
    header = settings.CSRF_HEADER_NAME.removeprefix("HTTP_").replace("_", "-").lower()
    csrf.check(
        method=request.method or "",
        headers={**{name.lower(): value for name, value in request.headers.items()}, "host": request.get_host()},
        cookies=request.COOKIES,
        secure=request.is_secure(),
        form_token=request.POST.get(csrf.FIELD, "") if request.method == "POST" else "",
        session=identity.csrf,
        site=csrf.Site(trusted_origins=tuple(settings.CSRF_TRUSTED_ORIGINS), header=header),
    )


class CsrfMiddleware(CsrfViewMiddleware):  # type: ignore[misc]
    """Stands where ``CsrfViewMiddleware`` stood, for a monolith with ``CSRF_USE_SESSIONS``."""

    def process_request(self, request: HttpRequest) -> None:
        identity = current()
        if identity is not None and identity.csrf:
            request.META["CSRF_COOKIE"] = csrf.secret_of(identity.csrf)  # what forms mask
        else:
            super().process_request(request)

    def process_view(self, request: HttpRequest, callback: Any, args: Any, kwargs: Any) -> Any:
        identity = current()
        if identity is None or not identity.csrf:
            return super().process_view(request, callback, args, kwargs)
        if getattr(callback, "csrf_exempt", False):
            return None
        try:
            check_csrf(request, identity)
        except csrf.Forged as forged:
            return HttpResponseForbidden(f"CSRF verification failed: {forged}")
        return None


class RouteMiddleware:
    """Leaves the route's pattern for the metrics, and shapes what something absent makes of a request."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_view(self, request: HttpRequest, view: object, args: object, kwargs: object) -> None:
        request.environ[ROUTE] = label(request.resolver_match.route)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if not isinstance(exception, _GONE):
            return None
        shaped = problem.of(Unavailable(str(exception)))
        response = HttpResponse(bytes(shaped.body), status=shaped.status_code)
        for name, value in shaped.headers.items():
            response[name] = value
        return response


@lru_cache(maxsize=1024)
def label(route: str) -> str:
    """Return a URL pattern as it reads best: ``items/^(?P<pk>[0-9]+)/$`` is ``/items/<pk>/``."""
    plain = replace_metacharacters(remove_non_capturing_groups(replace_named_groups(route)))
    return f"/{plain.lstrip('/')}"


def database_check(alias: str = "default") -> PlainCheck:
    """Return a check of the database called ``alias``, on a connection that is kept from one time to the next."""

    def check() -> str | None:
        connection = connections[alias]
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        except DatabaseError:
            return "the database does not answer"
        finally:
            connection.close_if_unusable_or_obsolete()
        return None

    return check


def database_position(alias: str = "default") -> Position:
    """Return what tells how far the WAL of the database called ``alias`` is: the ``position`` of a chassis."""

    def position() -> str | None:
        connection = connections[alias]
        if connection.in_atomic_block:
            return None  # what was written is not committed yet
        try:
            with connection.cursor() as cursor:
                cursor.execute(QUERY)
                return str(cursor.fetchone()[0])
        except DatabaseError as error:
            logger.warning("nobody can say how far the database has written: %s", error)
            return None

    return position
