"""A Django process that writes beside the proxy, into the monolith's tables: a command, a cron job, an import.

``python -m tests.chaos.cutover.bypass``, with what it needs as a line of JSON on standard input; it ends when that is
closed. It writes by the ORM, in bulk and by SQL, and waits where a fence refuses it.
"""

from __future__ import annotations

import json
import random
import sys
import uuid
from pathlib import Path
from typing import Any, Final

import django
from django.conf import settings

from tests.chaos.cutover.ending import input_ended
from tests.chaos.cutover.log import Log
from tests.chaos.cutover.oracle import POSITIONS, line_value

CLIENT: Final = 800
_PAUSE_S: Final = 0.05


def _set_up(database: dict[str, Any]) -> None:
    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", **database}},
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "strangler_django"],
        USE_TZ=True,
    )
    django.setup()


def _models() -> tuple[Any, Any]:
    from django.db import models

    class Purchase(models.Model):  # type: ignore[misc]
        id = models.BigAutoField(primary_key=True)
        ref = models.UUIDField()
        client = models.IntegerField()
        value = models.BigIntegerField()
        writer = models.TextField()

        class Meta:
            managed, db_table, app_label = False, "purchase", "chaos"

    class PurchaseLine(models.Model):  # type: ignore[misc]
        id = models.BigAutoField(primary_key=True)
        purchase = models.ForeignKey(Purchase, on_delete=models.CASCADE)
        position = models.IntegerField()
        value = models.BigIntegerField()

        class Meta:
            managed, db_table, app_label = False, "purchase_line", "chaos"

    return Purchase, PurchaseLine


def _buy(models: tuple[Any, Any], draw: random.Random, words: dict[str, Any]) -> None:
    """Write a purchase in one of the ways in which a Django project does."""
    from django.db import connection, transaction

    purchase, line = models
    with transaction.atomic():
        made = purchase.objects.create(writer="monolith", **words)
        lines = [
            line(purchase=made, position=position, value=line_value(made.value, position)) for position in POSITIONS
        ]
        match draw.randint(0, 2):
            case 0:
                for each in lines:
                    each.save()
            case 1:
                line.objects.bulk_create(lines)
            case _:
                with connection.cursor() as cursor:
                    cursor.executemany(
                        "insert into purchase_line (purchase_id, position, value) values (%s, %s, %s)",
                        [[made.id, each.position, each.value] for each in lines],
                    )


def main() -> None:
    told = json.loads(sys.stdin.readline())
    _set_up(told["database"])
    from django.db import Error, connection

    from strangler_django.fence import refusal

    over, log, draw, models = input_ended(), Log(Path(told["log"])), random.Random(told["seed"]), _models()
    value = CLIENT * 1_000_000
    while not over.wait(_PAUSE_S):
        value += 1
        words = {"ref": str(uuid.UUID(int=draw.getrandbits(128), version=4)), "client": CLIENT, "value": value}
        log.tell(what="sent", **words)
        try:
            _buy(models, draw, words)
        except Error as exc:
            if refusal(exc) is None:
                log.tell(what="unknown", why=str(exc), **words)
                connection.close()
        else:
            log.tell(what="acknowledged", stack="monolith", **words)


if __name__ == "__main__":
    main()
