"""Sessions of those who look again and again, every few seconds for as long as ``sync run`` runs.

To begin one costs its server some milliseconds of a core: a process is made, which reads its catalogues, and is ended.
Whoever is served by that core waits meanwhile, and is among the slowest.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

import psycopg

from strangler.sync.transfer import open_database

_LIFE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Kept:
    connection: psycopg.Connection
    exits: ExitStack
    until: float


class Sessions:
    """One session with each database that is asked for, in autocommit, under ``name``. For one thread.

    After a minute it is begun anew, since a URL may lead to another server by then, and at once when it has broken off.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._kept: dict[str, _Kept] = {}

    def at(self, url: str, what: str) -> psycopg.Connection:
        """Return the session with a database, which is called ``what``. Raises ``Unreachable``."""
        kept = self._kept.get(url)
        if kept is not None and time.monotonic() < kept.until and _answers(kept.connection):
            return kept.connection
        self.end(url)
        exits = ExitStack()
        connection = exits.enter_context(open_database(url, what, self._name))
        self._kept[url] = _Kept(connection, exits, time.monotonic() + _LIFE_S)
        return connection

    def end(self, *urls: str) -> None:
        """End the sessions with these databases, if there are any."""
        for url in urls:
            kept = self._kept.pop(url, None)
            if kept is not None:
                kept.exits.close()

    def close(self) -> None:
        self.end(*self._kept)


def _answers(connection: psycopg.Connection) -> bool:
    try:
        connection.execute("select")
    except psycopg.Error:
        return False
    return True
