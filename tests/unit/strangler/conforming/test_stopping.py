"""How a service ended, by what was seen of it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from strangler.conforming.answer import Answer, Asked, Silence
from strangler.conforming.finding import Verdict
from strangler.conforming.stopping import Ready, Stop, judge_stop

OK = Answer(status=200)
GONE = Silence(why="refused", refused=True)
DRAINING = Answer(status=503)


def verdicts(
    ready: Sequence[Ready] = (Ready(at=0.0, came=DRAINING),), flights: Sequence[Asked] = (OK,), code: int | None = 0
) -> dict[str, Verdict]:
    seen = Stop(target="/", ready=ready, flights=flights, code=code, seconds=1.0, grace=5.0)
    return {each.rule: each.verdict for each in judge_stop(seen)}


def test_one_that_ends_well() -> None:
    assert set(verdicts().values()) == {Verdict.PASS}


@pytest.mark.parametrize(
    ("ready", "expected"),
    [
        ([Ready(at=0.1, came=OK), Ready(at=0.3, came=DRAINING)], Verdict.PASS),
        ([Ready(at=0.1, came=GONE)], Verdict.PASS),
        ([Ready(at=0.1, came=OK), Ready(at=0.7, came=OK)], Verdict.FAIL),
        ([Ready(at=0.1, came=DRAINING), Ready(at=0.9, came=OK)], Verdict.FAIL),
        ([Ready(at=0.1, came=OK)], Verdict.INCONCLUSIVE),
        ([], Verdict.INCONCLUSIVE),
    ],
)
def test_it_says_that_it_goes(ready: list[Ready], expected: Verdict) -> None:
    assert verdicts(ready=ready)["stop.ready"] is expected


@pytest.mark.parametrize(
    ("flights", "expected"),
    [
        ([OK, Answer(status=404)], Verdict.PASS),
        ([OK, GONE], Verdict.FAIL),
        ([OK, DRAINING], Verdict.FAIL),
        ([], Verdict.INCONCLUSIVE),
    ],
)
def test_what_was_under_way_is_answered(flights: list[Asked], expected: Verdict) -> None:
    assert verdicts(flights=flights)["stop.requests"] is expected


@pytest.mark.parametrize("code", [None, 3, -15])
def test_it_ends_in_time_and_well(code: int | None) -> None:
    assert verdicts(code=code)["stop.ends"] is Verdict.FAIL
