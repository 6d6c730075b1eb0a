"""The owner of the reviews moves to the service and back while customers write, and containers are killed meanwhile."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from uuid import uuid4

import pytest

from tests.compose.running import Running
from tests.fixtures.waiting import until

pytestmark = pytest.mark.slow

# Whose death costs nobody a request: others do their work, or it is done later.
BESIDE: Final = ("sync", "valkey", "reactions", "sync-standby", "beat")
SENT: Final = "app.send_task('reviews.tasks.forget_votes', task_id='{task}')"
SENDING: Final = {
    "monolith": "from shop.celery import app",
    "reviews-worker": "from reviews_service.work import app",
}
RECORDS: Final = {"monolith": ("shop-database", "shop"), "service": ("services-database", "reviews")}
_MARK: Final = "/tmp/customers.pid"  # in a container's own
_LINES: Final = "/tmp/customers.log"


class Customers:
    """People who write reviews through the proxy; they live in a container that nobody kills."""

    def __init__(self, running: Running) -> None:
        self._running = running

    def written(self) -> int:
        """Return how many writes were acknowledged."""
        counted = self._running.run("monolith-worker", "sh", "-c", f"grep -c '^{{.*seen' {_LINES} || true")
        return int(counted or 0)

    def until_more(self, what: str) -> None:
        """Return when twenty more writes were acknowledged."""
        since = self.written()
        until(lambda: self.written() > since + 20, what, seconds=60)

    def judged(self) -> dict[str, Any]:
        """Return what became of each write, once nothing more follows from them."""
        asked = ("python", "manage.py", "customers", "--check", _LINES)
        said = self._running.engine.run("monolith-worker", *asked, check=False)
        found: dict[str, Any] = json.loads(said.stdout)
        return found

    def failures(self) -> list[str]:
        lines = self._running.run("monolith-worker", "cat", _LINES).splitlines()
        return [line for line in lines if "failed" in line]


@contextmanager
def customers(running: Running) -> Iterator[Customers]:
    through = "exec python manage.py customers --people 4 --rate 3 --through http://proxy:8000"
    words = f"echo $$ > {_MARK}; {through} > {_LINES} 2>&1"
    writing = threading.Thread(
        target=running.engine.run, args=("monolith-worker", "sh", "-c", words), kwargs={"check": False}
    )
    writing.start()
    found = Customers(running)
    try:
        until(lambda: _is_there(running) and found.written() > 10, "customers write", seconds=40)
        yield found
    finally:
        running.engine.run("monolith-worker", "sh", "-c", f"kill $(cat {_MARK})", check=False)
        writing.join(timeout=30)


def _is_there(running: Running) -> bool:
    return running.engine.run("monolith-worker", "test", "-e", _LINES, check=False).returncode == 0


@contextmanager
def killed(running: Running, services: Sequence[str]) -> Iterator[list[str]]:
    """Kill one after another, each as soon as the one before runs again."""
    over, done = threading.Event(), list[str]()

    def go_on() -> None:
        while not over.is_set():
            service = services[len(done) % len(services)]
            running.kill(service)
            done.append(service)
            over.wait(1.0)

    killing = threading.Thread(target=go_on)
    killing.start()
    try:
        yield done
    finally:
        over.set()
        killing.join()


def test_the_owner_moves_and_comes_back_while_what_runs_beside_it_is_killed(running: Running) -> None:
    with customers(running) as writing:
        with killed(running, BESIDE) as gone:
            running.move("cutover", "reviews", "service")
            writing.until_more("writes go to the service")
            running.move("rollback", "reviews", "monolith")
            until(lambda: len(gone) >= len(BESIDE), "each was killed", seconds=60)
        running.until_healthy(*BESIDE)
        writing.until_more("writes go to the monolith again")
        failed = writing.failures()
    found = writing.judged()
    assert failed == []
    assert found.pop("acknowledged_writes") > 50
    assert found.pop("reads_of_own") > 50
    assert set(found.values()) == {0}, found


def test_a_task_takes_effect_where_the_data_are_owned_whichever_side_it_was_sent_to(running: Running) -> None:
    sent: list[str] = []
    for owner, verb in (("monolith", ""), ("service", "cutover"), ("monolith", "rollback")):
        if verb:
            running.move(verb, "reviews", owner)
        for place, whose in SENDING.items():
            sent.append(f"sent-{len(sent)}-{uuid4()}")
            running.run(place, "python", "-c", f"{whose}; {SENT.format(task=sent[-1])}")
            until_done(running, owner, sent[-1:])
    for owner in RECORDS:
        until_done(running, owner, sent)


def until_done(running: Running, owner: str, tasks: Sequence[str]) -> None:
    """Return when all of ``tasks`` have taken effect, as one of the databases knows."""
    ids = ", ".join(f"'{each}'" for each in tasks)
    counted = f"select count(*) from reviews_job where id in ({ids})"
    what = f"{', '.join(tasks)} took effect, as the {owner} knows"
    until(lambda: int(running.sql(counted, *RECORDS[owner])) == len(tasks), what, seconds=60)


def test_a_killed_service_loses_nothing_that_it_acknowledged(running: Running) -> None:
    with customers(running) as writing:
        running.move("cutover", "reviews", "service")
        for victim in ("reviews", "services-database", "reviews"):
            running.kill(victim)
            running.until_healthy("services-database", "reviews")
            writing.until_more("writes are acknowledged again")
        running.move("rollback", "reviews", "monolith")
    found = writing.judged()
    told = {name: found[name] for name in ("lost", "doubled", "stale_reads", "wrong_ratings")}
    assert set(told.values()) == {0}, found
