# mypy: disable-error-code="misc"
from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from django.db import connection

from strangler_django.reactions import reaction

from .models import Book, Other


@reaction("shelf")
def put(change: Any) -> None:
    """Write what came; fail, or die the first time, where that is asked for."""
    told = change.new or {}
    Other.objects.create(pk=change.id, note=f"{change.op} {change.key['id']} {told.get('price', '')!r}")
    if told.get("orphan"):
        with connection.cursor() as cursor:
            cursor.execute("insert into orphan values (1)")
    if told.get("fails"):
        Book.objects.get(pk=-1)
    if told.get("dies") and not Path(told["dies"]).exists():
        Path(told["dies"]).touch()
        os.kill(os.getpid(), signal.SIGKILL)


@reaction("other")
def also(change: Any) -> None:
    Other.objects.create(pk=-change.id, note=change.token)
