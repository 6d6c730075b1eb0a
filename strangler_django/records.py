"""The rows that say which tasks have taken effect: one a task, in a table of the capability, with the task's effects.

Where they say so already, and where the fence refuses them, the effects are rolled back with them. So a task takes
effect once, however often it is delivered, at whichever side, and whenever whoever ran it has died.
"""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.db import Error, connections, transaction
from django.utils import timezone

from strangler_django.background import SETTING, Work, refused
from strangler_django.fence import Refusal

FIELDS = ("name", "done_at", "result")
# Any number would do: it keeps these locks apart from those that a project takes by a hash of its own.
_SEED = 0x7374_7261


class Done(NamedTuple):
    """A task has taken effect before; what was kept of its result."""

    kept: str | None


class _Twice(Exception):
    """Somebody else was first, while this one ran."""


def model(work: Work) -> Any:
    """Return the model of the records. Raises ``ImproperlyConfigured`` where it is none, or cannot be one."""
    where = f"{SETTING}[{work.capability!r}]"
    try:
        found: Any = apps.get_model(work.record)
        kind = found._meta.pk.get_internal_type()
        if kind not in ("CharField", "TextField"):
            raise ImproperlyConfigured(f"{where}: the primary key of {work.record} is an {kind}; a task's id is text")
        for each in FIELDS:
            found._meta.get_field(each)
    except (LookupError, ValueError, FieldDoesNotExist) as error:
        raise ImproperlyConfigured(f'{where}["record"] is {work.record!r}: {error}') from error
    return found


def knock(work: Work) -> None:
    """Write here as who changes nothing; raises what the fence says, as the database's error."""
    table, columns = _table(work)
    # Statement triggers fire for a statement that changes nothing, and nothing is locked any longer than it takes.
    statement = f"UPDATE {table} SET {columns[0]} = {columns[0]} WHERE 1 = 0"  # noqa: S608
    with transaction.atomic(using=work.database), connections[work.database].cursor() as cursor:
        cursor.execute(statement)


def ask(work: Work) -> Refusal | None:
    """Return what the fence says to who would write here now, None where this side owns."""
    try:
        knock(work)
    except Error as error:
        found = refused(error)
        if found is None:
            raise
        return found
    return None


def done(work: Work, key: str) -> Done | None:
    """Return what is kept of a task that has taken effect, None while it has not."""
    found = model(work)._base_manager.using(work.database).filter(pk=key).values_list("result")
    return next((Done(*row) for row in found), None)


def once(work: Work, key: str, name: str, run: Callable[[], tuple[Any, str | None]]) -> Any:
    """Run a task in a transaction that also notes it, and return its result; ``Done`` where it was run before.

    ``run`` returns the result, and what of it is to be kept. Raises what that raises, and what the fence does.
    """
    try:
        with transaction.atomic(using=work.database):
            _alone(work, key)
            before = done(work, key)
            if before is not None:
                return before
            result, kept = run()
            # Last, since whoever has written here keeps the fence from being raised until they end.
            if not note(work, key, name, kept):
                raise _Twice
    except _Twice:
        return done(work, key) or Done(None)
    return result


def in_steps(work: Work, key: str, name: str, run: Callable[[], tuple[Any, str | None]]) -> Any:
    """Run a task that commits as it goes, and note it afterwards: should it end in between, it is run again."""
    before = done(work, key)
    if before is not None:
        return before
    result, kept = run()
    note(work, key, name, kept)
    return result


def note(work: Work, key: str, name: str, kept: str | None) -> bool:
    """Note that a task takes effect, and return whether it is the first to do so."""
    table, columns = _table(work)
    statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING"  # noqa: S608
    with connections[work.database].cursor() as cursor:
        cursor.execute(statement, [key, name, timezone.now(), kept])
        return bool(cursor.rowcount)


def _alone(work: Work, key: str) -> None:
    """Let a task that is delivered twice at once run one after the other: the second then finds that it was."""
    connection = connections[work.database]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, %s))", [key, _SEED])


def _table(work: Work) -> tuple[str, list[str]]:
    meta = model(work)._meta
    quote = connections[work.database].ops.quote_name
    return quote(meta.db_table), [quote(each.column) for each in (meta.pk, *map(meta.get_field, FIELDS))]
