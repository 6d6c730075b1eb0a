"""``celery --app guestbook.background.celery worker``: the workers of one side."""

from __future__ import annotations

import os
import signal
from typing import Any

import django
from celery import Celery, signals

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "guestbook.background.settings")
django.setup()

from . import tasks  # noqa: E402  # models can be there now

app = Celery("guestbook", broker=os.environ["GUESTBOOK_BROKER"])
app.conf.update(
    task_default_queue=os.environ["GUESTBOOK_SIDE"],
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    # What a worker that was killed has not acknowledged, the next one that starts is given.
    broker_transport_options={"global_keyprefix": "work:", "visibility_timeout": 1},
    beat_scheduler="celery.beat.Scheduler",
)
for each in (tasks.write, tasks.halt, tasks.follow, tasks.careless, tasks.command, tasks.steps):
    app.task(name=f"guestbook.{each.__name__}", strangler_atomic=each is not tasks.steps)(each)


@signals.task_success.connect  # type: ignore[untyped-decorator,unused-ignore]
def die(**_: Any) -> None:
    """Be killed between the commit and the acknowledgement, with the whole worker and whatever else is half-way."""
    if "GUESTBOOK_DIES" in os.environ:
        os.killpg(os.getpgrp(), signal.SIGKILL)
