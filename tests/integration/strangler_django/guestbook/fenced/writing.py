from __future__ import annotations

from .models import Book


def write(pk: int) -> None:
    Book.objects.filter(pk=pk).update(title=f"{pk} anew")
