"""The Celery app: chunks of a backfill, and the repair of a push that was lost.

Every task may be delivered twice or killed at any instant: claims are locks in the control database, and results are
rows there, so the broker holds nothing that could be missed.

    STRANGLER_PROJECT=strangler.toml celery --app strangler.jobs:celery_app worker --beat
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any, Final

from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded
from kombu.exceptions import OperationalError

from strangler.ledger import LedgerError, Publisher
from strangler.project import Project, load
from strangler.sync import backfill
from strangler.sync.errors import Unreachable

COPY_CHUNK: Final = "strangler.backfill.copy_chunk"
REPAIR: Final = "strangler.ledger.repair"
QUEUE: Final = "strangler"
# A chunk takes seconds; one that takes this long hangs. Past the second limit its process is ended.
_CHUNK_LIMIT_S: Final = 600
_CHUNK_END_S: Final = _CHUNK_LIMIT_S + 30
# A push is lost when its publisher dies between commit and push. Workers look into the database once a second anyway;
# this brings the broker level for the next worker that starts.
_REPAIR_EVERY_S: Final = 1.0


def app(project: Project) -> Celery:
    """Return the Celery app of ``project``: its broker, its tasks, its beat."""
    celery = Celery("strangler", broker=project.control.redis.reveal(), set_as_current=False)
    celery.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_default_queue=QUEUE,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        task_soft_time_limit=_CHUNK_LIMIT_S,
        task_time_limit=_CHUNK_END_S,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # a broker that is down for a day must not end the worker
        broker_transport_options={"visibility_timeout": 2 * _CHUNK_END_S, "global_keyprefix": "strangler:celery:"},
        beat_schedule={
            "repair": {"task": REPAIR, "schedule": _REPAIR_EVERY_S, "options": {"expires": _REPAIR_EVERY_S}}
        },
        beat_scheduler="celery.beat.Scheduler",  # in memory: what runs each second needs no file to remember
    )

    def copy_chunk(run: int, number: int) -> None:
        try:
            backfill.copy_chunk(project, run, number)
        except SoftTimeLimitExceeded:
            backfill.give_up_chunk(project, run, number, f"not copied within {_CHUNK_LIMIT_S} s; see what blocks it")

    def repair() -> None:
        try:
            with Publisher.open(project) as publisher:
                publisher.repair()
        except LedgerError:
            return  # the ledger is down or not made yet: the next tick asks again

    celery.task(name=COPY_CHUNK, shared=False)(copy_chunk)  # shared, every other application would have them, too
    celery.task(name=REPAIR, shared=False)(repair)
    return celery


def submitter(project: Project) -> backfill.Submit:
    """Return what hands a chunk to whichever worker is free. It raises ``Unreachable`` when the broker is."""
    celery = app(project)

    def submit(run: int, number: int) -> None:
        try:
            celery.send_task(COPY_CHUNK, [run, number], queue=QUEUE)
        except OperationalError as exc:
            raise Unreachable(f"the broker does not answer: {exc}; start it, or copy with --inline") from exc

    return submit


@cache
def _from_environment() -> Celery:
    return app(load(Path(os.environ.get("STRANGLER_PROJECT", "strangler.toml"))))


def __getattr__(name: str) -> Any:
    # The worker names `strangler.jobs:celery_app`; importing this module alone must not read a project.
    if name == "celery_app":
        return _from_environment()
    raise AttributeError(name)
