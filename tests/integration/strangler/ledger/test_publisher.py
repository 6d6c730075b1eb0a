from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import redis

from strangler.capability import CompleteSync, SetReads, StartMove, StartSync
from strangler.ledger import Change, Publisher, Unacknowledged
from strangler.ledger.publish import Broker
from strangler.project import Project, Secret
from strangler.routing.keys import Keys
from strangler.routing.table import unseal
from tests.fixtures.ledger import SECRET, ScriptedWorker


def change(share: int) -> Change:
    return Change(capability="search", command=SetReads(share=share), who="ann", reason="trying")


@pytest.fixture
def publisher(ledger_project: Project) -> Iterator[Publisher]:
    with Publisher.open(ledger_project) as opened:
        opened.enrol(ledger_project, who="ann", reason="first")
        yield opened


def test_done_means_that_every_live_worker_routes_by_it(publisher: Publisher, ledger_project: Project) -> None:
    with ScriptedWorker(ledger_project, "one") as one, ScriptedWorker(ledger_project, "two") as two:
        publication, acknowledgement = publisher.change(change(2_500), ledger_project)
        assert (one.version, two.version) == (publication.version, publication.version)
    assert (acknowledgement.workers, acknowledgement.pushed) == (2, True)


def test_a_worker_that_is_late_is_waited_for(publisher: Publisher, ledger_project: Project) -> None:
    with ScriptedWorker(ledger_project, "slow", delay_s=0.3):
        _, acknowledgement = publisher.change(change(2_500), ledger_project)
    assert acknowledgement.ms >= 300


def test_a_worker_that_never_answers_is_named(publisher: Publisher, ledger_project: Project) -> None:
    named = r"1 of 1 live workers have not acknowledged it: scripted deaf"
    with ScriptedWorker(ledger_project, "deaf", deaf=True), pytest.raises(Unacknowledged, match=named):
        publisher.change(change(2_500), ledger_project, wait_s=0.3)
    assert publisher.ledger.state("search").share == 2_500


def test_without_waiting_it_returns_once_committed(publisher: Publisher, ledger_project: Project) -> None:
    with ScriptedWorker(ledger_project, "deaf", deaf=True):
        publication, acknowledgement = publisher.change(change(2_500), ledger_project, wait_s=None)
    assert acknowledgement.version == publication.version


def test_with_the_broker_down_the_database_carries_the_acknowledgement(
    publisher: Publisher, ledger_project: Project
) -> None:
    nobody = replace(ledger_project.control, redis=Secret(value="redis://127.0.0.1:1"))
    project = replace(ledger_project, control=nobody)
    with ScriptedWorker(ledger_project, "one", through_database=True), Publisher.open(project) as cut_off:
        publication, acknowledgement = cut_off.change(change(2_500), project)
    assert (acknowledgement.workers, acknowledgement.pushed) == (1, False)
    assert publication.after is not None


def test_an_older_table_never_replaces_a_newer_one(publisher: Publisher, ledger_project: Project) -> None:
    older, _ = publisher.change(change(1), ledger_project)
    newer, _ = publisher.change(change(2), ledger_project)
    publisher.broker.put(older)
    assert publisher.broker.version() == newer.version


def test_a_push_that_was_lost_is_repaired(publisher: Publisher, ledger_project: Project) -> None:
    lost = publisher.ledger.apply(change(77))
    assert publisher.broker.version() < lost.version
    assert publisher.repair()
    assert publisher.broker.version() == lost.version
    assert not publisher.repair()


def test_what_is_pushed_is_what_was_committed(publisher: Publisher, ledger_project: Project) -> None:
    with ScriptedWorker(ledger_project, "one") as worker:
        publication, _ = publisher.change(change(2_500), ledger_project)
        assert worker.last is not None
    table = unseal(worker.last, Keys.derive(SECRET).table)
    assert worker.last == publication.sealed
    assert table.version == publication.version


def test_a_broker_that_does_not_answer_costs_a_second_or_so(ledger_project: Project) -> None:
    broker = Broker("redis://127.0.0.1:1")
    started = time.monotonic()
    with pytest.raises(redis.ConnectionError):
        broker.version()
    assert time.monotonic() - started < 5
    broker.close()


def begin_move(publisher: Publisher, project: Project) -> int:
    """Begin to move the owner of the catalog; return the epoch of that, by which its writes are held."""
    for command in (StartSync(), CompleteSync(), StartMove()):
        made = Change(capability="catalog", command=command, who="ann", reason="trying")
        publication, _ = publisher.change(made, project, wait_s=None)
    assert publication.after is not None
    assert publication.after.moving is not None
    return publication.after.moving.epoch


@pytest.mark.parametrize("through_database", [False, True])
def test_a_hold_stands_when_no_write_is_under_way_in_any_worker(
    publisher: Publisher, ledger_project: Project, through_database: bool
) -> None:
    one = ScriptedWorker(ledger_project, "one", through_database=through_database)
    with one, ScriptedWorker(ledger_project, "two"):
        one.in_flight = 2
        hold = begin_move(publisher, ledger_project)
        with pytest.raises(
            Unacknowledged, match=r"1 of 2 workers may still write to catalog: scripted.* \(2 under way\)"
        ):
            publisher.await_hold("catalog", hold, lease_s=0, deadline=time.monotonic() + 0.3)
        one.in_flight = 0
        heard = publisher.await_hold("catalog", hold, lease_s=0, deadline=time.monotonic() + 5)
    assert {each.id: each.held["catalog"].id for each in heard} == {"one": hold, "two": hold}


def test_a_worker_that_has_not_heard_of_a_hold_keeps_it_from_standing(
    publisher: Publisher, ledger_project: Project
) -> None:
    named = r"1 of 1 workers may still write to catalog: scripted deaf \(has not acknowledged the hold\)"
    with ScriptedWorker(ledger_project, "deaf", deaf=True):
        hold = begin_move(publisher, ledger_project)
        with pytest.raises(Unacknowledged, match=named):
            publisher.await_hold("catalog", hold, lease_s=0, deadline=time.monotonic() + 0.3)
