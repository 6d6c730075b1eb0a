"""Celery's tasks of a capability: each takes effect once, on the side that owns, wherever it was sent and whenever.

A worker asks the fence before it begins. Where that refuses, or does so half-way, what the task wrote is rolled back,
and the same task, with its id, arguments, expiry, priority and what follows it, is sent to the owner's queue, or once
more to this one; then its message is acknowledged. Whoever dies in between sends it twice, and the records tell that.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from functools import wraps
from typing import Any, Callable, Iterator

from celery import Celery, Task, signals
from celery.exceptions import Ignore, Reject, Retry
from celery.utils.time import maybe_iso8601
from django.core.exceptions import ImproperlyConfigured
from django.db import Error
from kombu.exceptions import OperationalError
from kombu.pools import producers
from kombu.utils import json

from strangler_django import background, records, ticks
from strangler_django.background import Next, Step, Work
from strangler_django.fence import Refusal

HOPS = "strangler_hops"
"""The header that counts how often a fence has refused a task."""
_INSIDE = "strangler_inside"
_BOUND = "strangler_bound"
_LOG = logging.getLogger("strangler_django.background")
# A broker that is away for longer is waited for outside of the worker's only hand.
_PATIENCE = {"max_retries": 3, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.5}
_dumps: Callable[[Any], str] = json.dumps
_loads: Callable[[str], Any] = json.loads
_LATER = Next(Step.HERE, 5.0)


class _Elsewhere(Exception):
    """The fence stands before a task has begun."""

    def __init__(self, found: Refusal) -> None:
        super().__init__(found.detail)
        self.found = found


def connect() -> None:
    """Have every worker and beat of this process treat the capabilities' tasks so."""
    signals.worker_init.connect(_worker, dispatch_uid="strangler_django.deliveries")
    signals.beat_init.connect(_beat, dispatch_uid="strangler_django.deliveries")


def bind(app: Celery) -> None:
    """Have the app's tasks that belong to a capability take effect once, and for its owner.

    Raises ``ImproperlyConfigured`` where no task has a name that the settings say: Celery drops what it does not know.
    """
    here, works = background.side(), background.works()
    for name in sorted(app.tasks):
        work = background.of_task(name, works)
        if work is not None:
            _bind(app.tasks[name], work, here)
    for work in works:
        records.model(work)
        for pattern in work.tasks:
            if not any(Work("", (pattern,)).has_task(name) for name in app.tasks):
                raise ImproperlyConfigured(
                    f"{background.SETTING}[{work.capability!r}]: no task here is named {pattern}; one that the other"
                    " side sends would be dropped"
                )


def _worker(sender: Any, **_: object) -> None:
    with _or_not_at_all():
        bind(sender.app)


def _beat(sender: Any, **_: object) -> None:
    with _or_not_at_all():
        ticks.bind(sender.scheduler)


@contextmanager
def _or_not_at_all() -> Iterator[None]:
    """End a process that cannot begin well: Celery would log what a receiver raises, and go on without."""
    try:
        yield
    except ImproperlyConfigured as error:
        raise SystemExit(f"strangler_django: {error}") from error


def _bind(task: Task, work: Work, side: str) -> None:
    if getattr(task, _BOUND, False):
        return
    run = task.run

    @wraps(run)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        request = task.request
        if request.called_directly or request.is_eager or request.get(_INSIDE):
            return run(*args, **kwargs)
        setattr(request, _INSIDE, True)
        return _deliver(task, work, side, lambda: run(*args, **kwargs))

    task.run = guarded
    # Acknowledged any earlier, a task would be lost with its worker.
    task.acks_late = task.reject_on_worker_lost = True
    setattr(task, _BOUND, True)


def _deliver(task: Task, work: Work, side: str, run: Callable[[], Any]) -> Any:
    try:
        return _effect(task, work, run)
    except (Retry, Reject, Ignore):
        raise
    except Exception as error:
        found = error.found if isinstance(error, _Elsewhere) else background.refused(error)
        if found is None and isinstance(error, Error):
            # Whoever has caught what the fence said meets what PostgreSQL says of everything after it.
            found = records.ask(work)
        following = background.after(found, work.capability, side, _hops(task))
        if found is None or following.step is Step.FAIL:
            raise
        _LOG.info(
            "task %s[%s] is refused (%s): on to %s", task.name, task.request.id, found.detail, following.step.value
        )
        _send(task, work, following)
        raise Ignore from error


def _effect(task: Task, work: Work, run: Callable[[], Any]) -> Any:
    """Run a task once, and return its result. Raises what it raises, and ``_Elsewhere`` where the fence stands."""
    key = _key(task.request)
    before = records.done(work, key)
    if before is not None:
        return _result(before)
    standing = records.ask(work)
    if standing is not None:
        raise _Elsewhere(standing)
    ignored: list[Ignore] = []

    def attempt() -> tuple[Any, str | None]:
        try:
            result = run()
        except Ignore as ignore:  # it has taken effect, and its result is nobody's business
            ignored.append(ignore)
            return None, None
        return result, _kept(task.request, result)

    how = records.once if getattr(task, "strangler_atomic", True) else records.in_steps
    result = how(work, key, task.name, attempt)
    if ignored:
        raise ignored[0]
    return _result(result)


def _send(task: Task, work: Work, following: Next) -> None:
    """Send a task on, and return when the broker has it; else have it delivered again."""
    try:
        _publish(task, work, following)
        return
    except OperationalError as error:
        _LOG.warning("task %s[%s] cannot be sent to its owner: %s", task.name, task.request.id, error)
    try:
        _publish(task, work, _LATER)
    except OperationalError as error:
        raise Reject(str(error), requeue=True) from error


def _publish(task: Task, work: Work, following: Next) -> None:
    request, elsewhere = task.request, following.step is Step.OWNER
    options = {**task.app.conf.broker_transport_options, "confirm_publish": True}
    if elsewhere:
        options.update(work.broker_options)
    url = work.broker if elsewhere and work.broker else None
    signature = task.signature_from_request(
        request,
        queue=work.queue if elsewhere else None,
        headers={**(request.headers or {}), HOPS: _hops(task) + 1},
        retries=request.retries,
        expires=maybe_iso8601(request.expires),  # as text, in which it came, Celery 5.2 does not take it
        **({"countdown": following.countdown_s} if following.countdown_s else {}),
    )
    connection = task.app.connection_for_write(url, transport_options=options)
    with producers[connection].acquire(block=True) as producer:
        signature.apply_async(producer=producer, retry=True, retry_policy=_PATIENCE)


def _hops(task: Task) -> int:
    found = task.request.get(HOPS, 0)
    return found if isinstance(found, int) and found > 0 else 0


def _key(request: Any) -> str:
    """Return what tells this task from every other: its id, and how often it has replaced itself, which keeps that."""
    nested = request.get("replaced_task_nesting") or 0
    return f"{request.id}+{nested}" if nested else str(request.id)


def _kept(request: Any, result: Any) -> str | None:
    """Return what of a result must outlive the worker: what follows the task is sent with it, after the commit."""
    return _dumps(result) if request.chain or request.callbacks or request.chord else None


def _result(result: Any) -> Any:
    if not isinstance(result, records.Done):
        return result
    return None if result.kept is None else _loads(result.kept)
