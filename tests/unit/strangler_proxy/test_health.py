"""Which endpoint is asked next, whatever happened before."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler_proxy.health import USUAL, Condition, Health, HealthPolicy, choose

NAMES = "abcdefgh"


@dataclass
class Place:
    name: str
    pending: int = 0
    health: Health = field(default_factory=Health)


def stack(count: int) -> list[Place]:
    return [Place(name) for name in NAMES[:count]]


def fail(place: Place, now: float, among: list[Place], times: int = 5) -> bool:
    return [place.health.failed(now, among) for _ in range(times)][-1]


def probe(place: Place, *passed: bool, now: float) -> list[bool]:
    return [place.health.probed(each, now) for each in passed]


def asked(places: list[Place], now: float, turns: int = 4096) -> Counter[str]:
    return Counter(choose(places, turn, now).name for turn in range(turns))


# --- choosing ---


def test_one_endpoint_is_asked_whatever_is_known_of_it() -> None:
    place = Place("a")
    place.health.refused(0.0)
    probe(place, False, False, False, now=0.0)
    assert choose([place], 7, 0.0) is place


def test_of_two_equals_take_turns_and_the_less_busy_comes_first() -> None:
    places = stack(2)
    assert [choose(places, turn, 0.0).name for turn in range(4)] == ["a", "b", "a", "b"]
    places[0].pending = 1
    assert asked(places, 0.0, 10) == {"b": 10}


@pytest.mark.parametrize("count", range(2, 9))
def test_equals_are_asked_equally_often(count: int) -> None:
    shares = asked(stack(count), 0.0, 1000 * count)
    assert set(shares.values()) == {1000}


@pytest.mark.parametrize("count", range(2, 9))
def test_the_busiest_is_never_asked_and_the_idlest_most(count: int) -> None:
    places = stack(count)
    for number, place in enumerate(places):
        place.pending = number
    shares = asked(places, 0.0)
    assert places[-1].name not in shares
    assert [shares[place.name] for place in places] == sorted((shares[each.name] for each in places), reverse=True)
    # Of all pairs, 2 in `count` hold the idlest.
    assert shares["a"] / 4096 == pytest.approx(2 / count, rel=0.05)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.booleans()), min_size=1, max_size=8),
    st.integers(0, 2**40),
)
def test_who_is_skipped_is_asked_only_where_all_are(kinds: list[tuple[int, bool, bool]], turn: int) -> None:
    places = []
    for name, (pending, refuses, leaves) in zip(NAMES, kinds, strict=False):
        places.append(place := Place(name, pending))
        if refuses:
            place.health.refused(10.0)
        if leaves:
            place.health.leave()
    found = choose(places, turn, 10.1)
    if any(place.health.skipped_until <= 10.1 for place in places):
        assert found.health.skipped_until <= 10.1
    elif not all(place.health.draining for place in places):
        assert not found.health.draining


def test_all_are_asked_when_all_are_skipped() -> None:
    places = stack(3)
    for place in places:
        place.health.refused(0.0)
    shares = asked(places, 0.1)
    assert [shares[place.name] / 4096 for place in places] == pytest.approx([1 / 3] * 3, rel=0.05)


# --- refusals ---


def test_a_refusal_skips_for_longer_each_time_up_to_a_limit() -> None:
    health = Health()
    waits = []
    for _ in range(8):
        health.refused(100.0)
        waits.append(health.skipped_until - 100.0)
    assert waits == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    health.connected()
    assert (health.refusals, health.skipped_until) == (0, 0.0)
    health.refused(200.0)
    assert health.skipped_until == 200.25


def test_who_refused_is_tried_by_a_few_requests_after_its_pause() -> None:
    places = stack(2)
    places[0].health.refused(0.0)
    assert asked(places, 0.2) == {"b": 4096}
    assert asked(places, 0.3)["a"] / 4096 == pytest.approx(USUAL.min_weight / 2, rel=0.05)


def test_a_connection_takes_back_neither_an_ejection_nor_what_probes_say() -> None:
    one, other = stack(2)
    one.health.refused(100.0)
    fail(one, 101.0, [one, other])
    one.health.refused(101.0)
    one.health.connected()
    assert (one.health.condition(101.0), one.health.skipped_until) == (Condition.EJECTED, 131.0)
    probe(other, False, False, False, now=101.0)
    other.health.refused(101.0)
    other.health.connected()
    assert (other.health.condition(101.0), other.health.skipped_until) == (Condition.UNHEALTHY, inf)


# --- answers: outlier detection ---


def test_five_failures_in_a_row_eject_and_an_answer_between_begins_anew() -> None:
    one, other = stack(2)
    assert [one.health.failed(0.0, [one, other]) for _ in range(4)] == [False] * 4
    one.health.succeeded()
    assert [one.health.failed(1.0, [one, other]) for _ in range(5)] == [False] * 4 + [True]
    assert one.health.skipped_until == 31.0
    assert one.health.condition(30.9) is Condition.EJECTED


def test_each_ejection_lasts_longer_up_to_a_limit_and_calm_forgives() -> None:
    one, other = stack(2)
    now, times = 1000.0, []
    for _ in range(12):
        assert fail(one, now, [one, other])
        times.append(one.health.skipped_until - now)
        now = one.health.skipped_until
    assert times == [30.0 * number for number in range(1, 11)] + [300.0, 300.0]
    fail(one, now + 10 * 30.0, [one, other])
    assert one.health.ejections == 3
    now = one.health.skipped_until
    fail(one, now + 3600.0, [one, other])
    assert one.health.ejections == 1


def test_failures_of_requests_from_before_do_not_prolong_an_ejection() -> None:
    one, other = stack(2)
    fail(one, 0.0, [one, other])
    assert not fail(one, 29.0, [one, other])
    assert one.health.skipped_until == 30.0


def test_the_only_endpoint_is_never_ejected() -> None:
    place = Place("a")
    assert not fail(place, 0.0, [place], times=1000)
    assert place.health.condition(0.0) is Condition.WHOLE


def test_who_could_not_be_ejected_is_when_another_has_returned() -> None:
    one, other = stack(2)
    assert fail(one, 0.0, [one, other])
    assert not fail(other, 1.0, [one, other])
    assert other.health.failed(31.0, [one, other])


@given(
    st.integers(1, 8),
    st.lists(
        st.tuples(st.sampled_from(NAMES), st.sampled_from(["fail", "fail", "fail", "answer"]), st.floats(0, 20)),
        max_size=400,
    ),
)
def test_at_least_half_stay_whatever_is_answered(count: int, events: list[tuple[str, str, float]]) -> None:
    places = {place.name: place for place in stack(count)}
    now = 1000.0
    for name, what, later in events:
        now += later
        if name not in places:
            continue
        if what == "fail":
            fail(places[name], now, list(places.values()), times=3)
        else:
            places[name].health.succeeded()
        assert sum(place.health.skipped_until > now for place in places.values()) <= count / 2


# --- probes ---


def test_three_failed_probes_take_out_and_two_passed_bring_back() -> None:
    place = Place("a")
    assert probe(place, False, False, True, False, False, False, now=5.0) == [False] * 5 + [True]
    assert place.health.skipped_until == inf
    assert probe(place, True, False, True, True, now=9.0) == [False, False, False, True]
    assert (place.health.skipped_until, place.health.condition(9.0)) == (0.0, Condition.RETURNING)
    assert place.health.condition(19.0) is Condition.WHOLE


@given(st.lists(st.booleans(), max_size=60))
def test_the_verdict_turns_exactly_after_so_many_against_it(results: list[bool]) -> None:
    health, verdict, run = Health(), True, 0
    for passed in results:
        run = run + 1 if passed is not verdict else 0
        turned = run >= (3 if verdict else 2)
        if turned:
            verdict, run = passed, 0
        assert health.probed(passed, 0.0) is turned
        assert health.unhealthy is not verdict


# --- coming and going ---


def test_who_returns_is_asked_by_a_part_that_rises_with_time() -> None:
    one, other = places = stack(2)
    probe(one, False, False, False, now=0.0)
    probe(one, True, True, now=100.0)
    shares = [asked(places, 100.0 + seconds)["a"] / 4096 for seconds in (0, 1, 2, 5, 7.5, 10, 11)]
    assert shares == pytest.approx([0.05, 0.05, 0.1, 0.25, 0.375, 0.5, 0.5], abs=0.005)
    assert other.health.condition(100.0) is Condition.WHOLE


@given(st.integers(0, 2**40), st.floats(0, 10))
def test_who_returns_and_is_busier_is_not_asked(turn: int, since: float) -> None:
    one, other = stack(2)
    one.health.join(50.0)
    one.pending = 1
    assert choose([one, other], turn, 50.0 + since) is other


def test_who_left_is_not_asked_until_it_joins_again() -> None:
    places = stack(2)
    places[0].health.leave()
    assert asked(places, 1e9) == {"b": 4096}
    assert places[0].health.condition(1e9) is Condition.DRAINING
    places[0].health.join(2e9)
    assert places[0].health.condition(2e9) is Condition.RETURNING
    assert asked(places, 2e9 + 10) == {"a": 2048, "b": 2048}


def test_when_all_refuse_who_left_is_still_not_asked() -> None:
    places = stack(2)
    places[0].health.leave()
    places[1].health.refused(0.0)
    assert asked(places, 0.1) == {"b": 4096}


def test_the_state_shows_itself() -> None:
    health = Health()
    health.refused(1.0)
    assert repr(health) == "Health(refusals=1, failures=0, ejections=0, skipped_until=1.250)"
    assert health.condition(1.0) is Condition.REFUSING
    health.leave()
    assert repr(health) == "Health(refusals=1, failures=0, ejections=0, skipped_until=inf, draining)"


@pytest.mark.parametrize(
    "wrong",
    [
        {"consecutive_gateway_failure": 0},
        {"base_ejection_time": 400.0},
        {"refused_first": 0.0},
        {"max_ejection_percent": 101},
        {"slow_start_window": 0.0},
        {"min_weight": 0.0},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"at least|above|between"):
        HealthPolicy(**wrong)  # type: ignore[arg-type]
