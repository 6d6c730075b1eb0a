from __future__ import annotations

import logging
import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError, ProgrammingError, connections
from django.utils.module_loading import autodiscover_modules

from strangler_django.reactions import Runner, registered

_LOG = logging.getLogger("strangler_django.reactions")
_LOOK_S = 0.2
_AWAY_S = 3.0


class Command(BaseCommand):
    help = "Calls the project's reactions with the changes that the sync has applied, until it is ended."
    requires_system_checks = ()

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="The alias of the database.")
        parser.add_argument("--once", action="store_true", help="Do what waits, and end; 1 when something is left.")
        parser.add_argument("--skip", type=int, metavar="ID", help="Take this change off unreacted to, and end.")

    def handle(self, *_: Any, **options: Any) -> None:
        alias = options["database"]
        if alias not in connections:
            raise CommandError("there is no database {!r}; there: {}".format(alias, ", ".join(connections)))
        if connections[alias].vendor != "postgresql":
            raise CommandError(f"the database {alias!r} is no PostgreSQL: no sync brings anything there")
        autodiscover_modules("reactions")
        runner = Runner(registered(), alias)
        if options["skip"] is not None:
            self._skip(runner, options["skip"])
        elif options["once"]:
            self._once(runner, alias)
        else:
            self._run(runner, alias)

    def _skip(self, runner: Runner, change: int) -> None:
        found = runner.skip(change) if runner.is_there() else None
        if found is None:
            raise CommandError(f"no change {change} waits")
        self.stdout.write(f"skipped: {found}")

    def _once(self, runner: Runner, alias: str) -> None:
        if not runner.is_there():
            return
        done = 0
        while (more := runner.turn()) > 0:
            done += more
        with connections[alias].cursor() as cursor:
            cursor.execute("select count(*) from strangler_sync.reaction")
            left = cursor.fetchone()[0]
        self.stdout.write(f"{done} done, {left} left")
        if left:
            raise CommandError(f"{left} changes are left; the log tells why")

    def _run(self, runner: Runner, alias: str) -> None:
        over = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: over.set())
        names = ", ".join(sorted(registered())) or "none: no app has a reactions.py"
        self.stdout.write(f"reactions: {names}")
        self.stdout.flush()
        while not over.is_set():
            over.wait(self._turn(runner, alias))

    def _turn(self, runner: Runner, alias: str) -> float:
        """Do some of what waits; return for how many seconds there is nothing to do."""
        try:
            if not runner.is_there():
                return _AWAY_S
            return 0.0 if runner.turn() else _LOOK_S
        except (OperationalError, InterfaceError) as exc:
            _LOG.warning("the database does not answer: %s", (str(exc).strip().splitlines() or [""])[0])
            connections[alias].close()
            return _AWAY_S
        except (
            ProgrammingError
        ) as exc:  # a right is lacking, as while the first stream begins, or the queue was taken away
            _LOG.warning("no reactions: %s", (str(exc).strip().splitlines() or [""])[0])
            return _AWAY_S
