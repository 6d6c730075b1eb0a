"""The owner of the reviews moves to the service and back while customers write, and containers are killed meanwhile."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import pytest

from tests.compose.running import Running, StackFailed
from tests.fixtures.waiting import until

pytestmark = pytest.mark.slow

# Whose death costs nobody a request: others do their work, or it is done later.
BESIDE: Final = ("sync", "valkey", "reactions", "sync-standby", "beat")
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


def move(running: Running, verb: str, owner: str) -> None:
    """Move the owner; what is aborted for a killed part is asked for again, as an operator does."""
    more = ("--unobserved", "--pause-budget", "5s") if verb == "cutover" else ()

    def moved() -> bool:
        # A worker ends when its broker is killed, and the engine starts it again: nobody can be asked in between.
        try:
            return asked_again()
        except StackFailed:
            return False

    def asked_again() -> bool:
        asked = ("strangler", "--project", "/srv/project/strangler.toml")
        words = (verb, "reviews", "--reason", "a test", *more)
        running.engine.run("jobs", *asked, *words, check=False)
        if running.state("reviews")["data"] in ("fencing", "moving"):
            running.engine.run("jobs", *asked, "resume", "reviews", "--reason", "a test", check=False)
        return bool(running.state("reviews")["owner"] == owner)

    until(moved, f"{verb}: the {owner} owns the reviews", seconds=100)


def test_the_owner_moves_and_comes_back_while_what_runs_beside_it_is_killed(running: Running) -> None:
    with customers(running) as writing:
        with killed(running, BESIDE) as gone:
            move(running, "cutover", "service")
            writing.until_more("writes go to the service")
            move(running, "rollback", "monolith")
            until(lambda: len(gone) >= len(BESIDE), "each was killed", seconds=60)
        running.until_healthy(*BESIDE)
        writing.until_more("writes go to the monolith again")
        failed = writing.failures()
    found = writing.judged()
    assert failed == []
    assert found.pop("acknowledged_writes") > 50
    assert found.pop("reads_of_own") > 50
    assert set(found.values()) == {0}, found


def test_a_killed_service_loses_nothing_that_it_acknowledged(running: Running) -> None:
    with customers(running) as writing:
        move(running, "cutover", "service")
        for victim in ("reviews", "services-database", "reviews"):
            running.kill(victim)
            running.until_healthy("services-database", "reviews")
            writing.until_more("writes are acknowledged again")
        move(running, "rollback", "monolith")
    found = writing.judged()
    told = {name: found[name] for name in ("lost", "doubled", "stale_reads", "wrong_ratings")}
    assert set(told.values()) == {0}, found
