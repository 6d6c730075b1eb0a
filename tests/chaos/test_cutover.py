from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos.cutover import planted
from tests.chaos.cutover.crowd import Load
from tests.chaos.cutover.running import Plan, chaos


@pytest.mark.slow
def test_the_owner_moves_under_load_and_troubles_and_nothing_is_lost() -> None:
    report = chaos(Plan(transitions=4, seed=11, troubled=1.0, load=Load(clients=16, think_s=0.2, seed=11)))
    told = report.to_json()
    assert report.wrong == [], told
    assert report.transitions >= 4, told
    assert report.acknowledged_writes > 300, told
    assert report.kills.total() + report.other_troubles.total() > 0, told
    assert report.looks > 100, told
    assert told["pause_ms"] if report.moved else True
    assert (told["lost"], told["doubled"], told["stale_reads"]) == (0, 0, 0)


# All of them by `make chaos ARGS=planted`: each takes half a minute.
@pytest.mark.slow
@pytest.mark.parametrize("name", ["not-fenced", "refused-though-saved"])
def test_a_planted_fault_is_found(name: str) -> None:
    report = chaos(replace(planted.plan(name), transitions=1, most=2))
    assert set(report.wrong) & set(planted.FAULTS[name].shows), report.to_json()
