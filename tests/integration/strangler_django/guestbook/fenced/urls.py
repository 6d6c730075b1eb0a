# mypy: disable-error-code="misc"
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from django.db import connection
from django.http import HttpResponse
from django.urls import path, re_path
from rest_framework.views import APIView

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


def in_a_task(request: Any) -> HttpResponse:
    from celery import Celery

    app = Celery("guestbook", set_as_current=False)
    app.task(name="fenced.restock")(write).apply([5]).get()
    write(6)
    return HttpResponse()


urlpatterns = [
    path("books/<int:pk>/", save),
    re_path(r"^api/books/(?P<pk>[0-9]+)/$", Save.as_view()),
    path("hand/", save_by_hand),
    path("wrapped/", wrapped),
    path("task/", in_a_task),
]
