"""Whom the proxy must forget at once, told in the answer to the request that made it so.

The proxy remembers for up to 15 seconds who a credential is. A logout ends one session; a changed password, an account
that is switched off or deleted, another group or permission and a deleted token concern all credentials of a user,
whoever changed them: an administrator's answer names the users that it changed. What is named is a keyed hash
(``channel.mark``), in the header ``Strangler-Forget``, which the proxy takes out.

Outside of requests (commands, Celery), and after ``QuerySet.update`` or raw SQL, of which Django says nothing, the 15
seconds stand. In a request, such code may call ``forget_user``.
"""

from __future__ import annotations

from asyncio import iscoroutinefunction
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Callable, Iterator

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_out
from django.db.models.signals import m2m_changed, post_delete, post_save
from django.utils.decorators import sync_and_async_middleware

from strangler_django.channel import mark, secret

HEADER = "Strangler-Forget"
# Beyond, everybody is forgotten: that costs a question for each visitor, and a longer header might be refused.
MOST_MARKS = 64

_MARKS: ContextVar[set[str] | None] = ContextVar("strangler_django_forget", default=None)


@sync_and_async_middleware  # type: ignore[untyped-decorator,unused-ignore]
def middleware(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Tell the proxy whom to forget; stands first in ``MIDDLEWARE``, outside of every transaction."""
    if iscoroutinefunction(get_response):

        async def later(request: Any) -> Any:
            with _collecting() as marks:
                response = await get_response(request)
            return _told(response, marks)

        return later

    def at_once(request: Any) -> Any:
        with _collecting() as marks:
            response = get_response(request)
        return _told(response, marks)

    return at_once


def forget_user(pk: object) -> None:
    """Have the proxy forget every credential of the user with ``pk``, when the running request is answered."""
    _note("subject", str(pk))


def forget_everybody() -> None:
    """Have the proxy ask anew about every visitor, when the running request is answered."""
    _note("everybody", "")


def connect() -> None:
    """Listen for what changes who somebody is. Senders are named wherever Django is slower for all others else."""
    user = get_user_model()
    user_logged_out.connect(_logged_out, dispatch_uid="strangler_django.logout")
    post_save.connect(_saved, dispatch_uid="strangler_django.save")
    post_delete.connect(_deleted, sender=user, dispatch_uid="strangler_django.delete")
    for name in ("groups", "user_permissions"):
        if hasattr(user, name):
            m2m_changed.connect(_joined, sender=getattr(user, name).through, dispatch_uid="strangler_django." + name)
    if apps.is_installed("django.contrib.auth"):
        granted = apps.get_model("auth", "Group").permissions.through
        m2m_changed.connect(_granted, sender=granted, dispatch_uid="strangler_django.permissions")
    if apps.is_installed("rest_framework.authtoken"):
        token = apps.get_model("authtoken", "Token")
        post_delete.connect(_token_deleted, sender=token, dispatch_uid="strangler_django.token")


@contextmanager
def _collecting() -> Iterator[set[str]]:
    marks: set[str] = set()
    before = _MARKS.set(marks)
    try:
        yield marks
    finally:
        _MARKS.reset(before)


def _told(response: Any, marks: set[str]) -> Any:
    if marks:
        few = marks if len(marks) <= MOST_MARKS else {mark(secret(), "everybody", "")}
        response[HEADER] = ",".join(sorted(few))
    return response


def _note(kind: str, text: str) -> None:
    marks, key = _MARKS.get(), secret()
    if marks is not None and key:
        marks.add(mark(key, kind, text))


def _logged_out(request: Any, **_: object) -> None:
    session = request.COOKIES.get(settings.SESSION_COOKIE_NAME, "") if request is not None else ""
    if session:
        _note("session", session)


def _saved(instance: object, created: bool, update_fields: Any, **_: object) -> None:
    # Each login writes when it was, and changes nothing of who somebody is.
    if isinstance(instance, get_user_model()) and not created and set(update_fields or ("all",)) != {"last_login"}:
        forget_user(instance.pk)


def _deleted(instance: Any, **_: object) -> None:
    forget_user(instance.pk)


def _token_deleted(instance: Any, **_: object) -> None:
    forget_user(instance.user_id)


def _joined(instance: Any, action: str, reverse: bool, pk_set: Any, **_: object) -> None:
    if not action.startswith("post_"):
        return
    if not reverse:
        forget_user(instance.pk)
    elif pk_set is None:
        forget_everybody()
    else:
        for pk in pk_set:
            forget_user(pk)


def _granted(action: str, **_: object) -> None:
    if action.startswith("post_"):
        forget_everybody()
