"""Watches that never both sides can be written: ``python -m tests.chaos.cutover.watching FILE``, until its input ends.

It looks at the triggers themselves, at one side, the other, and the first again: where that one is open both times, by
the very same rows of the catalogue, it was so meanwhile, and the other must have been shut.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg

from tests.chaos.cutover.ending import input_ended
from tests.chaos.cutover.log import Log
from tests.chaos.cutover.tables import TABLES

_LOOK: Final = (
    "select c.relname::text, t.tgname::text, t.tgenabled::text, t.xmin::text from pg_class c"
    " left join pg_trigger t on t.tgrelid = c.oid and t.tgname like 'strangler_fence%%'"
    " where c.relname = any(%s) order by 1, 2"
)
_PAUSE_S: Final = 0.01


@dataclass(frozen=True, slots=True)
class Look:
    """What one side's catalogue had: (table, trigger, when it fires, which transaction wrote that) for each."""

    side: str
    triggers: tuple[tuple[str, str | None, str | None, str | None], ...]

    @property
    def is_open(self) -> bool:
        """Whether somebody may write there: a trigger that does not fire always stops not everybody."""
        return any(enabled != "A" for _, _, enabled, _ in self.triggers)


def both_open(before: Look, between: Look, after: Look) -> bool:
    """Return whether both sides were open at once, by three looks: one side, the other, the first again."""
    return before == after and before.is_open and between.is_open and before.side != between.side


class Watch:
    def __init__(self, urls: dict[str, str]) -> None:
        self._urls = urls
        self._open: dict[str, psycopg.Connection] = {}

    def look(self, side: str) -> Look | None:
        """Return what a side has now, None where it does not answer."""
        try:
            if side not in self._open:
                self._open[side] = psycopg.connect(self._urls[side], autocommit=True, connect_timeout=2)
            return Look(side, tuple(self._open[side].execute(_LOOK, [list(TABLES[side].names)]).fetchall()))
        except psycopg.OperationalError:
            with suppress(KeyError):
                self._open.pop(side).close()
            return None


def main() -> None:
    log, urls, over = Log(Path(sys.argv[1])), json.loads(sys.stdin.readline()), input_ended()
    watch, looks, sides = Watch(urls), 0, list(urls)
    seen: list[Look | None] = [None, None]
    while not over.wait(_PAUSE_S):
        now = watch.look(sides[looks % 2])
        before, between = seen
        if before is not None and between is not None and now is not None and both_open(before, between, now):
            log.tell(what="both open", sides=[before.triggers, between.triggers])
        seen = [between, now]
        looks += 1
    log.tell(what="looked", times=looks, until=time.time())


if __name__ == "__main__":
    main()
