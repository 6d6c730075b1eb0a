"""Code that must run after rows have changed which the sync brought here: what signals did for rows written here.

What changed stands in a queue in the monolith's own database, noted by the sync in the transaction that applied it. A
reaction is called with one change after another, in order, in the transaction that takes it off the queue: what it does
in this database is done exactly once. What it does elsewhere (a request, a mail) may be done again if this process dies
between that and its commit: ``Change.token`` is the same each time, for whoever can tell the second from the first.

One that raises is tried again, later and later, and keeps nobody else's changes waiting.
"""

from __future__ import annotations

import json
import logging
import time
from decimal import Decimal
from typing import Any, Callable, Mapping, NamedTuple, Sequence

from django.db import DEFAULT_DB_ALIAS, Error, InterfaceError, OperationalError, connections, transaction

_LOG = logging.getLogger("strangler_django.reactions")

AT_ONCE = 100
"""So many changes are taken off in one transaction at most."""
AT_ONCE_S = 1.0
"""And no more are begun after so many seconds: a transaction that is open for long holds up who cleans tables."""
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
_TOLD = 300  # characters of an error that are kept

# Told by the catalogue alone: an error would end a transaction.
_THERE = """
select count(*) from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = 'strangler_sync' and c.relname = 'reaction_trouble'
"""
_WAITING = """
select name from unnest(%s::text[]) as name where exists (select from strangler_sync.reaction where reaction = name)
"""
_UNHEARD = """
select reaction, count(*) from strangler_sync.reaction where not reaction = any(%s::text[]) group by reaction
"""
_ALONE = "select pg_try_advisory_xact_lock(hashtext('strangler_react'), hashtext(%s))"
_NEXT = """
select id, capability, reaction, "table", op, key::text, old::text, new::text
from strangler_sync.reaction where reaction = %s order by id limit %s
"""
_DONE = "delete from strangler_sync.reaction where id = %s"
_LATER = """
insert into strangler_sync.reaction (reaction, capability, "table", op, key, new)
values (%s, %s, '', 'later', %s::jsonb, %s::jsonb)
"""
_FAILED = """
insert into strangler_sync.reaction_trouble as t (reaction, change, tries, error)
values (%(name)s, %(id)s, 1, %(error)s)
on conflict (reaction) do update set
  tries = case when t.change = excluded.change then t.tries + 1 else 1 end,
  since = case when t.change = excluded.change then t.since else excluded.since end,
  change = excluded.change, error = excluded.error, at = excluded.at
returning tries
"""
_MENDED = "delete from strangler_sync.reaction_trouble where reaction = %s"


class Change(NamedTuple):
    """One change of a row that the sync applied, or what ``later`` left.

    ``op`` is ``insert``, ``update``, ``delete`` or ``later``; a row that gets another key is a delete and an insert.
    ``old`` and ``new`` are the columns that the mapping tells, None where there was no row, or is none any more; as
    JSON has them: numbers with a fraction are ``Decimal``, moments and UUIDs are text.
    """

    id: int
    capability: str
    reaction: str
    table: str
    op: str
    key: Mapping[str, Any]
    old: Mapping[str, Any] | None
    new: Mapping[str, Any] | None

    @property
    def token(self) -> str:
        """What is the same each time that this change is reacted to, and different for every other."""
        return f"{self.reaction}-{self.id}"


Reaction = Callable[[Change], Any]
_REACTIONS: dict[str, Reaction] = {}


def reaction(name: str) -> Callable[[Reaction], Reaction]:
    """Have a function called for each change that the mapping's reaction ``name`` tells of."""

    def register(function: Reaction) -> Reaction:
        known = _REACTIONS.setdefault(name, function)
        if known is not function:
            raise ValueError(
                f"two functions are the reaction {name!r}: {known.__module__}.{known.__qualname__} and"
                f" {function.__module__}.{function.__qualname__}"
            )
        return function

    return register


def registered() -> dict[str, Reaction]:
    """Return the reactions that there are in this process, by their names."""
    return dict(_REACTIONS)


def later(
    name: str,
    key: Mapping[str, Any],
    new: Mapping[str, Any] | None = None,
    *,
    capability: str,
    using: str = DEFAULT_DB_ALIAS,
) -> None:
    """Have the reaction ``name`` called once the running transaction is committed, and not if it is rolled back.

    For what follows from a write here and belongs to somebody else: a service that cannot be asked within a
    transaction. ``capability`` is whose it is. There is a queue only where the sync of some capability has begun.
    """
    asked = [name, capability, json.dumps(key, default=str), None if new is None else json.dumps(new, default=str)]
    with connections[using].cursor() as cursor:
        cursor.execute(_LATER, asked)


class Runner:
    """Calls reactions with what waits for them, each in its own order, for as long as it is asked to.

    Several processes may do so: what one is at, another leaves alone.
    """

    def __init__(
        self,
        reactions: Mapping[str, Reaction],
        using: str = DEFAULT_DB_ALIAS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reactions, self._using, self._clock = reactions, using, clock
        self._not_before: dict[str, float] = {}
        self._look_at = 0.0  # for what nobody reacts to

    def is_there(self) -> bool:
        """Return whether there is a queue: the sync makes it when the first stream begins."""
        with connections[self._using].cursor() as cursor:
            cursor.execute(_THERE)
            return bool(cursor.fetchone()[0])

    def turn(self) -> int:
        """Call each reaction that may go on with some of what waits for it; return how many changes were done.

        Raises ``OperationalError`` or ``InterfaceError`` when the database is gone.
        """
        self._tell_unheard()
        due = [name for name in self._reactions if self._clock() >= self._not_before.get(name, 0.0)]
        with connections[self._using].cursor() as cursor:
            cursor.execute(_WAITING, [due])
            waiting = [name for (name,) in cursor.fetchall()]
        return sum(self._some(name) for name in waiting)

    def skip(self, change: int) -> Change | None:
        """Take one change off the queue without reacting to it, and return it; None where there is none."""
        with connections[self._using].cursor() as cursor:
            cursor.execute(
                "with gone as (delete from strangler_sync.reaction where id = %s returning *)"
                ' select id, capability, reaction, "table", op, key::text, old::text, new::text from gone',
                [change],
            )
            row = cursor.fetchone()
            if row is not None:
                cursor.execute(
                    "delete from strangler_sync.reaction_trouble where reaction = %s and change = %s", [row[2], change]
                )
        return None if row is None else _change(row)

    def _some(self, name: str) -> int:
        """React to the first changes that wait, until one fails; what was done before that one is done."""
        until = self._clock() + AT_ONCE_S
        done, tries = 0, 0
        with transaction.atomic(using=self._using), connections[self._using].cursor() as cursor:
            cursor.execute(_ALONE, [name])
            if not cursor.fetchone()[0]:
                return 0
            cursor.execute(_NEXT, [name, AT_ONCE])
            for change in map(_change, cursor.fetchall()):
                failed = self._react(change)
                if failed is not None:
                    tries = self._note(cursor, change, failed)
                    break
                done += 1
                if self._clock() >= until:
                    break
            if done and not tries:
                cursor.execute(_MENDED, [name])
        if tries:
            self._not_before[name] = self._clock() + pause(tries)
        else:
            self._not_before.pop(name, None)
        return done

    def _react(self, change: Change) -> Exception | None:
        """React to one change and take it off; return what it raised, of which nothing stays in this database."""
        try:
            with transaction.atomic(using=self._using):
                self._reactions[change.reaction](change)
                # What waits for the end of the transaction would else be found there, and be nobody's.
                connections[self._using].check_constraints()
                with connections[self._using].cursor() as cursor:
                    cursor.execute(_DONE, [change.id])
        except Exception as exc:  # whatever a reaction raises: it is noted, told, and tried again
            if isinstance(exc, (OperationalError, InterfaceError)) and not _answers(self._using):
                raise
            return exc
        return None

    def _note(self, cursor: Any, change: Change, error: Exception) -> int:
        told = _line(error)
        cursor.execute(_FAILED, {"name": change.reaction, "id": change.id, "error": told})
        tries = int(cursor.fetchone()[0])
        _LOG.warning(
            "reaction %s failed at change %s of %s (try %s, the next in %s s): %s",
            change.reaction,
            change.id,
            change.table or "what was left for later",
            tries,
            pause(tries),
            told,
            exc_info=error if tries == 1 else None,
        )
        return tries

    def _tell_unheard(self) -> None:
        if self._clock() < self._look_at:
            return
        self._look_at = self._clock() + LONGEST_PAUSE_S
        with connections[self._using].cursor() as cursor:
            cursor.execute(_UNHEARD, [list(self._reactions)])
            for name, number in cursor.fetchall():
                _LOG.warning("%s changes wait for the reaction %s, which no reactions.py registers here", number, name)


def pause(tries: int) -> float:
    """Return for how many seconds a reaction rests that has failed so often at one change."""
    return float(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(tries - 1, 20)))


def _answers(using: str) -> bool:
    try:
        with connections[using].cursor() as cursor:
            cursor.execute("select 1")
    except Error:
        return False
    return True


def _line(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [""])[0]
    # What a database cannot keep (a NUL, half of a surrogate pair) must not keep the rest from being noted.
    return f"{type(error).__name__}: {first}"[:_TOLD].replace("\0", "").encode("utf-8", "replace").decode()


def _change(row: Sequence[Any]) -> Change:
    return Change(*row[:5], *(None if each is None else json.loads(each, parse_float=Decimal) for each in row[5:]))
