from __future__ import annotations

from typing import Any

import pytest

from tests.chaos.moves import Report, allowed, chaos, judge

LINES: list[dict[str, Any]] = [
    {"key": 1, "value": 10, "what": "sent"},
    {"key": 1, "value": 10, "what": "acknowledged"},
    {"key": 2, "value": 20, "what": "sent"},
    {"key": 1, "value": 11, "what": "sent"},
    {"key": 1, "value": 11, "what": "lost"},
    {"key": 2, "value": 20, "what": "acknowledged"},
    {"key": 2, "value": None, "what": "sent"},
    {"key": 2, "value": None, "what": "acknowledged"},
    {"key": 3, "value": 30, "what": "sent"},
    {"what": "failed"},
]


def test_a_key_may_have_what_was_acknowledged_last_or_sent_since() -> None:
    assert allowed(LINES) == {1: {10, 11}, 2: {None}, 3: {None, 30}}


@pytest.mark.parametrize(
    ("monolith", "service", "lost", "strange", "different"),
    [
        ({1: 10}, {1: 10}, 0, 0, 0),
        ({1: 11, 3: 30}, {1: 11, 3: 30}, 0, 0, 0),
        ({1: 10}, {1: 11}, 0, 0, 1),
        ({}, {}, 2, 0, 0),
        ({1: 9}, {1: 9}, 2, 0, 0),
        ({1: 10, 2: 20}, {1: 10, 2: 20}, 2, 0, 0),
        ({1: 10, 4: 40}, {1: 10}, 0, 1, 1),
    ],
)
def test_what_is_not_as_it_may_be_is_told(
    monolith: dict[int, int], service: dict[int, int], lost: int, strange: int, different: int
) -> None:
    report = Report(seed=0)
    judge(report, allowed(LINES), {"monolith": monolith, "service": service})
    assert (len(report.lost), len(report.strange), len(report.different)) == (lost, strange, different)
    assert report.holds is not bool(lost or strange or different)


@pytest.mark.slow
def test_the_owner_moves_under_writes_and_kills_and_nothing_is_lost() -> None:
    report = chaos(4, seed=7, clients=4)
    assert report.holds, report.to_json()
    assert report.transitions == 4
    assert report.acknowledged_writes > 200
    assert report.kills
