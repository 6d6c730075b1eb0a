from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.migrations.exceptions import InconsistentMigrationHistory

from strangler_django.pending import lines, listing


class Command(BaseCommand):
    help = "Lists the migrations that are not applied yet, with what they do to tables. Writes nothing."
    requires_system_checks = ()

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="The alias of the database.")
        parser.add_argument("--json", action="store_true", help="Print JSON, on one line.")

    def handle(self, *_: Any, **options: Any) -> None:
        alias = options["database"]
        if alias not in connections:
            raise CommandError("there is no database {!r}; there: {}".format(alias, ", ".join(connections)))
        try:
            found = listing(connections[alias])
        except (DatabaseError, InconsistentMigrationHistory) as exc:
            raise CommandError(str(exc)) from exc
        self.stdout.write(json.dumps(found) if options["json"] else "\n".join(lines(found)))
