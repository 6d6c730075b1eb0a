"""What a step of a tour came to, from what the visitors saw and what the stacks logged."""

from __future__ import annotations

from hashlib import sha256

import pytest

from strangler.capability import WHOLE, SetReads, Stack
from strangler.demo.judge import ENOUGH, Judge, Leg, needed, plain, tolerance
from strangler.demo.traffic import Ask, Crowd
from strangler.routing.bucket import bucket
from strangler.routing.keys import Keys, sign_visitor

KEYS = Keys.derive("a secret that only this test knows, 32 bytes")
JUDGE = Judge(capability="catalog", keys=KEYS)
MONOLITH, SERVICE = Stack.MONOLITH, Stack.SERVICE


def leg(share: int, *, cohort: bool = False) -> Leg:
    return Leg(name="a step", command=SetReads(share=share), share=share, visitors=100, cohort=cohort)


def crowd(*asks: Ask, cohort: bool = False) -> Crowd:
    return Crowd(number=1, cohort=cohort, requests=len(asks), answered=list(asks), milliseconds=[1.0] * len(asks))


def ask(visitor: int, visit: int = 0) -> Ask:
    return Ask(crowd=1, visitor=visitor, visit=visit)


def nobody() -> Crowd:
    return Crowd(number=0)


def visitor_at(share: int, stack: Stack) -> str:
    """Return the id of a visitor that belongs to ``stack`` at ``share``."""
    found = (f"{number:032x}" for number in range(10_000))
    return next(each for each in found if (bucket("catalog", each) < share) == (stack is SERVICE))


def test_a_step_counts_visitors_requests_and_stacks() -> None:
    asks = [ask(1), ask(2), ask(2, 1), ask(3)]
    seen = crowd(*asks)
    seen.milliseconds = [1.0, 2.0, 3.0, 100.0]
    between = Crowd(number=0, requests=6)
    step, failures = JUDGE.step(leg(WHOLE), seen, between, {each: [SERVICE] for each in asks}, 12.345)
    assert failures == []
    assert plain([step]) == {
        "steps": [
            {
                "name": "a step",
                "asked_share": 1.0,
                "observed_share": 1.0,
                "tolerance": 0.01,
                "requests": 10,
                "visitors": 3,
                "returned": 1,
                "by_stack": {"monolith": 0, "service": 4},
                "failures": 0,
                "p50_ms": 3.0,
                "p99_ms": 100.0,
                "ack_ms": 12.35,
            }
        ],
        "requests": 10,
        "failures": 0,
    }
    assert step.holds


def test_a_visitor_who_came_back_to_the_other_stack_is_a_failure() -> None:
    seen = crowd(ask(1), ask(1, 1))
    seen.tokens[1] = sign_visitor(visitor_at(5_000, SERVICE), KEYS)
    _, failures = JUDGE.step(leg(5_000), seen, nobody(), {ask(1): [SERVICE], ask(1, 1): [MONOLITH]}, 1)
    assert failures == ["visitor 1 came back, and monolith answered instead of service"]


def test_a_visitor_is_where_its_cookie_says() -> None:
    seen = crowd(ask(1))
    seen.tokens[1] = sign_visitor(visitor_at(1_000, MONOLITH), KEYS)
    _, failures = JUDGE.step(leg(1_000), seen, nobody(), {ask(1): [SERVICE]}, 1)
    assert failures == ["visitor 1 belongs to monolith, and service answered"]


def test_an_api_client_is_where_its_credential_says() -> None:
    seen = crowd(ask(1))
    seen.credentials[1] = "Tour 1"
    belongs = SERVICE if bucket("catalog", sha256(b"Tour 1").hexdigest()) < 5_000 else MONOLITH
    assert JUDGE.step(leg(5_000), seen, nobody(), {ask(1): [belongs]}, 1)[1] == []
    assert len(JUDGE.step(leg(5_000), seen, nobody(), {ask(1): [belongs.other]}, 1)[1]) == 1


def test_members_of_the_cohort_belong_to_the_service() -> None:
    seen = crowd(ask(4), ask(5), cohort=True)
    answers = {ask(4): [MONOLITH], ask(5): [MONOLITH]}
    _, failures = JUDGE.step(leg(0, cohort=True), seen, nobody(), answers, 1)
    assert failures == ["visitor 4 belongs to service, and monolith answered"]
    assert leg(1_000, cohort=True).asked == pytest.approx(0.325)


@pytest.mark.parametrize("lines", [[], [MONOLITH, MONOLITH]])
def test_an_answer_stands_in_exactly_one_line(lines: list[Stack]) -> None:
    answers = {ask(1): lines} if lines else {}
    _, failures = JUDGE.step(leg(0), crowd(ask(1)), nobody(), answers, 1)
    assert failures == [f"visitor 1 was answered, and stands in {len(lines)} lines of the logs"]


def test_what_fails_while_the_routing_changes_counts_too() -> None:
    between = Crowd(number=0, requests=1, failures=["/: status 502"])
    step, failures = JUDGE.step(leg(0), crowd(ask(1)), between, {ask(1): [MONOLITH]}, 1)
    assert failures == ["/: status 502"]
    assert not step.holds


def test_a_share_that_is_off_does_not_hold() -> None:
    asks = [ask(number) for number in range(1, 101)]
    answers = {each: [SERVICE if each.visitor <= 80 else MONOLITH] for each in asks}
    step, failures = JUDGE.step(leg(5_000), crowd(*asks), nobody(), answers, 1)
    assert (failures, step.observed_share, step.is_off, step.holds) == ([], 0.8, True, False)


def test_a_point_is_told_from_chance() -> None:
    assert tolerance(0.25, ENOUGH) == 0.01
    assert tolerance(0.0, 100) == 0.01
    assert tolerance(0.25, 400) > 0.08
    assert needed(leg(5_000).variance, ENOUGH) > 30_000
    assert needed(leg(1_000).variance, ENOUGH) == ENOUGH
    assert needed(leg(1_000, cohort=True).variance, ENOUGH) == ENOUGH
    assert needed(leg(5_000).variance, 300) == 300
