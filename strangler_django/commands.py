"""Management commands of a capability run where its data are owned, and say so elsewhere."""

from __future__ import annotations

from functools import wraps
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from strangler_django import background, records
from strangler_django.background import Work
from strangler_django.fence import Refusal

NOT_THE_OWNER = 69
"""The exit code of a command on the side that does not own: EX_UNAVAILABLE of sysexits.h."""
TRY_AGAIN = 75
"""The exit code of a command that met the fence half-way: EX_TEMPFAIL of sysexits.h."""
_BOUND = "strangler_bound"


def connect() -> None:
    """Have every command of this process look whether it may run here."""
    if getattr(BaseCommand, _BOUND, False):
        return
    execute = BaseCommand.execute

    @wraps(execute)
    def guarded(self: Any, *args: Any, **options: Any) -> Any:
        name = type(self).__module__.rpartition(".")[2]
        work = background.of_command(name, background.works())
        if work is None:
            return execute(self, *args, **options)
        said, code = _elsewhere, NOT_THE_OWNER
        try:
            records.knock(work)
            said, code = _halfway, TRY_AGAIN
            return execute(self, *args, **options)
        except Exception as error:
            found = background.refused(error)
            if found is None:
                raise
            # From it, so that a task that has called the command is known to have met the fence.
            raise CommandError(said(name, work, found), returncode=code) from error

    BaseCommand.execute = guarded
    setattr(BaseCommand, _BOUND, True)


def _elsewhere(name: str, work: Work, found: Refusal) -> str:
    owner = found.owner or "other side"
    return (
        f"{name} was not run: it belongs to {work.capability}, whose data are the {owner}'s (epoch {found.epoch})."
        f" Run it at the {owner}. While the owner moves, that takes some seconds."
    )


def _halfway(name: str, work: Work, found: Refusal) -> str:
    capability, owner = found.capability or work.capability, found.owner or "other side"
    return (
        f"{name} met a fence half-way: {capability} is the {owner}'s since, or is to be."
        " The transaction that it was in is rolled back; what it had committed before stays. Run it again in some"
        " seconds: should that be the wrong side by then, it says so."
    )
