"""Turning requests away before a worker serves nobody any more."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from strangler.project.limits import Shed
from strangler_proxy.shed import Importance, Shedding

EVERY = 0.1
POLICY = Shed(lateness=0.2, in_flight=100)
looks = st.lists(st.tuples(st.floats(0, 2), st.integers(0, 200)), max_size=200)


def looked(looks: list[tuple[float, int]], policy: Shed = POLICY) -> list[float]:
    """Return the pressure after each look of a loop that was so late, with so much under way."""
    shedding, now, found = Shedding(policy), 1000.0, []
    for late, in_flight in looks:
        now += EVERY + late
        shedding.look(now, late, in_flight)
        found.append(shedding.pressure)
    return found


@given(looks)
def test_the_pressure_stays_within_its_bounds(looks: list[tuple[float, int]]) -> None:
    assert all(0 <= pressure <= len(Importance) for pressure in looked(looks))


@given(looks)
def test_it_goes_away_by_itself(looks: list[tuple[float, int]]) -> None:
    assert looked(looks + [(0.0, 0)] * 160)[-1] == 0


@given(looks, st.floats(0.1, 0.2), st.integers(50, 100))
def test_it_goes_away_where_much_is_usual(looks: list[tuple[float, int]], late: float, in_flight: int) -> None:
    assert looked(looks + [(late, in_flight)] * 1510)[-1] == 0


@given(looks, st.floats(0, 0.2))
def test_no_delay_counts_where_none_is_named(looks: list[tuple[float, int]], late: float) -> None:
    assert looked(looks + [(late, 0)] * 160, Shed(lateness=0, in_flight=100))[-1] == 0


@given(st.lists(st.tuples(st.floats(0, 0.2), st.integers(0, 100)), max_size=100))
def test_nobody_is_turned_away_while_all_is_well(looks: list[tuple[float, int]]) -> None:
    assert not any(looked(looks))


@given(st.floats(0.3, 2), st.integers(1, 10))
def test_pauses_turn_nobody_away(pause: float, apart: int) -> None:
    assert not any(looked(([(pause, 0)] + [(0.0, 0)] * apart) * 5))


def test_a_delay_that_stands_does() -> None:
    found = looked([(0.25, 0)] * 12)
    assert found[:3] == [0, 0, 0]  # the first second
    assert all(later > before for before, later in pairwise(found[3:11]))
    assert found[-1] > 2


def test_so_do_too_many_requests_at_once() -> None:
    found = looked([(0.0, 101)] * 3)
    assert found[0] == 0
    assert [round(pressure, 3) for pressure in found[1:]] == [0.1, 0.2]


@given(looks, st.floats(0.101, 0.2), st.integers(51, 100))
def test_between_too_much_and_half_of_it_pressure_falls_slowly(
    looks: list[tuple[float, int]], late: float, in_flight: int
) -> None:
    before = looked([*looks, (0.0, 100)])[-1]
    after = looked([*looks, (0.0, 100), (late, in_flight)])[-1]
    assert max(0.0, before - 0.01) <= after <= before


def test_without_bounds_nobody_is_ever_turned_away() -> None:
    assert not any(looked([(5.0, 10_000)] * 20, Shed(lateness=0.0)))


@given(st.floats(0, 3), st.floats(0, 1, exclude_max=True))
def test_what_is_more_important_goes_only_after_all_that_is_less(pressure: float, dice: float) -> None:
    shedding = Shedding(POLICY)
    shedding.pressure = pressure
    shed = [shedding.sheds(importance, dice) for importance in sorted(Importance)]
    assert shed == sorted(shed, reverse=True)
    if shedding.sheds(Importance.WRITE, dice):
        assert shedding.sheds(Importance.KNOWN, 0.999_999)
    assert repr(shedding) == f"Shedding({pressure:.2f} of 3)"


def test_at_no_pressure_nobody_goes_and_at_the_most_all_do() -> None:
    shedding = Shedding(POLICY)
    assert not any(shedding.sheds(importance, 0.0) for importance in Importance)
    shedding.pressure = 3.0
    assert all(shedding.sheds(importance, 0.999_999) for importance in Importance)
