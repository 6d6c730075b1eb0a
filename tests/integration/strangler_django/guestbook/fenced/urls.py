# mypy: disable-error-code="misc"
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from django.db import connection
from django.http import HttpResponse, JsonResponse
from django.urls import path, re_path
from rest_framework.views import APIView

from strangler_django.owner import OwnerUnknown, owner
from strangler_django.reactions import later

from .administration import Staff, site
from .models import Book, Other
from .writing import write


def save(request: Any, pk: int) -> HttpResponse:
    Other.objects.create(pk=pk, note="before")
    write(pk)
    return HttpResponse(Book.objects.get(pk=pk).title)


class Save(APIView):
    authentication_classes: Any = ()
    permission_classes: Any = ()

    def post(self, request: Any, pk: str) -> HttpResponse:
        return save(request, int(pk))


def save_by_hand(request: Any) -> HttpResponse:
    """As raw SQL does it: composed, many at once, with percent signs, long, in a common table expression, and reads."""
    sql = import_module("psycopg.sql" if find_spec("psycopg") else "psycopg2.sql")
    with connection.cursor() as cursor:
        composed = sql.SQL("update {} set title = title where id = %s").format(sql.Identifier("book"))
        cursor.execute(composed, [1])
        cursor.execute(sql.SQL("select 1"))
        cursor.executemany("update book set title = title where id = %s and title like '%%'", [[2], [3]])
        cursor.execute("update book set body = %s where id = 5", ["x" * 3_000])
        cursor.execute("with changed as (update book set title = title where id = 4 returning 1) select * from changed")
    return HttpResponse()


def wrapped(request: Any) -> HttpResponse:
    """As whoever counts statements does it, around the first one of a thread's connection, too."""
    with ThreadPoolExecutor(1) as threads:
        return HttpResponse(str(threads.submit(copy_context().run, _counted).result()))


def _counted() -> int:
    statements = []

    def count(execute: Any, statement: Any, *others: Any) -> Any:
        statements.append(statement)
        return execute(statement, *others)

    with connection.execute_wrapper(count):
        write(8)
    write(9)
    connection.close()
    return len(statements)


def ask_owner(request: Any, capability: str) -> HttpResponse:
    try:
        found = owner(capability)
    except OwnerUnknown as exc:
        found = str(exc)
    return HttpResponse(f"{found}, {Book.objects.count()}")  # the transaction goes on


def leave(request: Any, pk: int) -> HttpResponse:
    later("shelf", {"id": pk}, capability="shop-books")
    if "fails" in request.GET:
        raise RuntimeError("after it was left")
    return HttpResponse()


def administration(request: Any) -> HttpResponse:
    """Tell what an administration would offer."""
    from django.contrib import admin

    from strangler_django.admin import protect, reaches_owner

    class BookInline(admin.TabularInline):
        model = Book

    class BookAdmin(admin.ModelAdmin):
        actions = ("restock", "tell")

        def restock(self, *_: Any) -> None:
            """Write, here."""

        @reaches_owner
        def tell(self, *_: Any) -> None:
            """Ask the owner."""

    class OtherAdmin(admin.ModelAdmin):
        inlines = (BookInline,)

    site = admin.AdminSite()
    site.register(Book, BookAdmin)
    site.register(Other, OtherAdmin)
    protect(site)
    protect(site)
    request.user = Staff()
    book, other = site._registry[Book], site._registry[Other]
    inline = other.inlines[0](Other, site)
    return JsonResponse(
        {
            "book": _rights(book, request),
            "other": _rights(other, request),
            "inline": _rights(inline, request, None),
            "actions": sorted(book.get_actions(request)),
            "banner": book.strangler_banner(),
        }
    )


def _rights(found: Any, request: Any, *of: Any) -> dict[str, bool]:
    return {
        "add": found.has_add_permission(request, *of),
        **{each: getattr(found, f"has_{each}_permission")(request) for each in ("change", "delete", "view")},
    }


def in_a_task(request: Any) -> HttpResponse:
    from celery import Celery

    app = Celery("guestbook", set_as_current=False)
    app.task(name="fenced.restock")(write).apply([5]).get()
    write(6)
    return HttpResponse()


def look(request: Any) -> HttpResponse:
    return HttpResponse(Book.objects.get(pk=1).title)


def count(request: Any) -> HttpResponse:
    """As a page does it that notes who has seen it."""
    write(2)
    return HttpResponse("counted")


def nothing(request: Any) -> HttpResponse:
    return HttpResponse("nothing")


urlpatterns = [
    path("look/", look),
    path("count/", count),
    path("nothing/", nothing),
    path("books/<int:pk>/", save),
    re_path(r"^api/books/(?P<pk>[0-9]+)/$", Save.as_view()),
    path("hand/", save_by_hand),
    path("wrapped/", wrapped),
    path("task/", in_a_task),
    path("later/<int:pk>/", leave),
    path("administration/", administration),
    path("admin/", site.urls),
    path("owner/<str:capability>/", ask_owner),
]
