"""Celery's part of the load: tasks that write a purchase where they may.

``CHAOS_TASKS`` names broker, databases and the file of acknowledgements, as JSON. A task that meets a fence is sent to
the other stack, as a new message; one whose answer was lost is left alone. A broker that was killed delivers again what
it had delivered, so each looks first for what it would write.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import psycopg
from celery import Celery

from tests.chaos.cutover.log import Log
from tests.chaos.cutover.tables import TABLES, Tables

BUY: Final = "chaos.buy"
QUEUE: Final = "chaos"
CLIENT: Final = 900
_FENCED: Final = "SF001"
_AGAIN_S: Final = 0.2
_TIMES: Final = 300


def producer(broker: str) -> Celery:
    """Return an app that sends tasks, and waits for no broker that is away."""
    celery = Celery("chaos", broker=broker, set_as_current=False)
    celery.conf.update(
        task_default_queue=QUEUE,
        task_ignore_result=True,
        broker_connection_retry=False,
        broker_transport_options={"socket_timeout": 2, "socket_connect_timeout": 2, "global_keyprefix": "chaos:"},
    )
    return celery


def _buy_once(connection: psycopg.Connection, tables: Tables, words: Mapping[str, Any]) -> None:
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock(hashtextextended(%(ref)s, 0))", words)
        if connection.execute(tables.bought.encode(), words).fetchone() is None:
            connection.execute(tables.buy.encode(), words)


@cache
def _worker() -> Celery:
    told = json.loads(os.environ["CHAOS_TASKS"])
    celery, log = producer(told["broker"]), Log(Path(told["log"]))
    celery.conf.update(
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
    )

    def buy(self: Any, ref: str, client: int, value: int, stack: str = "monolith") -> None:
        words = {"ref": ref, "client": client, "value": value}
        log.tell(what="sent", **words)
        sent = False
        try:
            with psycopg.connect(told["databases"][stack], autocommit=True, connect_timeout=2) as connection:
                sent = True
                _buy_once(connection, TABLES[stack], words)
        except psycopg.Error as exc:
            if sent and exc.sqlstate != _FENCED:
                log.tell(
                    what="unknown" if isinstance(exc, psycopg.OperationalError) else "broken", why=str(exc), **words
                )
                return
            other = "service" if stack == "monolith" else "monolith"
            raise self.retry(args=[ref, client, value, other], countdown=_AGAIN_S, exc=exc) from exc
        log.tell(what="acknowledged", stack=stack, **words)

    celery.task(name=BUY, bind=True, max_retries=_TIMES)(buy)
    return celery


def __getattr__(name: str) -> Any:
    # The worker names `tests.chaos.cutover.tasks:celery_app`; whoever only sends needs no environment.
    if name == "celery_app":
        return _worker()
    raise AttributeError(name)
