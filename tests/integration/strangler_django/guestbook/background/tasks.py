"""What is done behind the visitors' backs, as people write it."""

from __future__ import annotations

import logging

from django.core.management import call_command
from django.db import connection

from .models import Entry


def write(note: str) -> str:
    Entry.objects.create(note=note)
    return note


def halt(note: str) -> None:
    """Stand still half-way, while somebody holds the lock, and then write."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock_shared(1)")
    write(note)


def follow(before: str, note: str) -> None:
    write(f"{note} after {before}")


def careless(note: str) -> None:
    """Stand still, and then catch what does not go well."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock_shared(1)")
    try:
        write(note)
    except Exception:
        logging.getLogger("guestbook").exception("not written")


def command(note: str) -> None:
    """Stand still half-way, and then run a command, which looks for itself whether it may."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock_shared(1)")
    call_command("sign", note)


def steps(note: str) -> None:
    """Commit as one goes."""
    write(note)
