"""Writes that wait, and the bounds within which they may."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from time import monotonic

from hypothesis import given
from hypothesis import strategies as st

from strangler.routing.hold import Hold
from strangler.routing.protect import Protect
from strangler.routing.table import MONOLITH, Capability, RoutingTable
from strangler_proxy.hold import Holds, Outcome, Parking
from strangler_proxy.telemetry import Tally


@dataclass(eq=False)
class Write:
    """A write that notes what becomes of it."""

    fate: list[str] = field(default_factory=list)

    def decide_anew(self) -> None:
        self.fate.append("anew")

    def turn_away(self, outcome: Outcome) -> None:
        self.fate.append(outcome)


steps = st.lists(
    st.tuples(st.sampled_from(["park", "grow", "leave"]), st.integers(0, 9), st.integers(0, 50)), max_size=60
)


@given(steps, st.integers(0, 5), st.integers(0, 120))
def test_never_do_more_wait_than_may(steps: list[tuple[str, int, int]], count: int, size: int) -> None:
    parking = Parking("catalog")
    parking.hold = Hold(id=1, count=count, bytes=size)
    writes = [Write() for _ in range(10)]
    waiting: dict[int, int] = {}
    for what, number, more in steps:
        write = writes[number]
        if what == "park" and number not in waiting:
            room = len(waiting) < count and sum(waiting.values()) + more <= size
            assert parking.park(write, more) is room
            if room:
                waiting[number] = more
        elif what == "grow":
            room = number not in waiting or sum(waiting.values()) + more <= size
            assert parking.grow(write, more) is room
            if room and number in waiting:
                waiting[number] += more
        elif what == "leave":
            assert parking.leave(write) is (waiting.pop(number, None) is not None)
        assert (len(parking), parking.bytes) == (len(waiting), sum(waiting.values()))
        assert len(parking) <= count
        assert parking.bytes <= size
        assert list(parking) == [writes[each] for each in waiting]


@given(st.none() | st.just(Hold(id=1)), st.floats(3, 100) | st.just(inf), st.floats(0, 200) | st.just(inf))
def test_writes_wait_for_a_hold_or_when_nobody_was_heard_of(hold: Hold | None, lease: float, silence: float) -> None:
    parking = Parking("catalog")
    parking.hold, parking.lease = hold, lease
    assert parking.closed(silence) is (hold is not None or silence > lease)


def table(hold: Hold | None = None, lease: float | None = None) -> RoutingTable:
    capability = Capability(name="catalog", service="catalog", routes=(), protect=Protect(lease=lease), hold=hold)
    return RoutingTable(version=1, upstreams={MONOLITH: ("x",), "catalog": ("y",)}, capabilities=(capability,))


def held(first: RoutingTable) -> tuple[Holds, Parking, Tally, list[Callable[[], None]]]:
    tally, later = Tally(), list[Callable[[], None]]()
    holds = Holds(tally, later.append)
    holds.adopt(first)
    parking = holds.parking("catalog")
    assert parking is not None
    return holds, parking, tally, later


def test_what_waited_is_decided_anew_in_its_order_when_the_hold_is_over() -> None:
    holds, parking, tally, later = held(table(Hold(id=7)))
    writes = [Write(), Write()]
    assert [holds.park(parking, write, 0) for write in writes] == [None, None]
    assert holds.waiting() == [("catalog", 2)]
    holds.adopt(table(Hold(id=8)))
    assert later == []
    holds.adopt(table())
    assert later == [write.decide_anew for write in writes]
    assert holds.parking("catalog") is None
    assert tally.counted("holds") == {("catalog", "released"): 2}


def test_nobody_waits_twice_for_the_same() -> None:
    holds, parking, tally, _ = held(table(Hold(id=7)))
    write = Write()
    holds.park(parking, write, 0)
    assert [holds.end(parking, write, Outcome.LEFT), holds.end(parking, write, Outcome.TIMEOUT)] == [True, False]
    assert tally.counted("holds") == {("catalog", "left"): 1}


def test_what_is_acknowledged_are_the_writes_that_do_not_wait() -> None:
    holds, parking, tally, _ = held(table(Hold(id=7)))
    series = tally.series("catalog", "monolith", "write")
    series.begun += 3
    tally.series("catalog", "monolith", "share").begun += 5
    holds.park(parking, Write(), 0)
    assert holds.words() == {"catalog": {"id": 7, "in_flight": 2, "parked": 1}}
    series.count("POST", 201, 0.1)
    series.count("POST", 502, 0.1)
    assert holds.words() == {"catalog": {"id": 7, "in_flight": 0, "parked": 1}}


def test_a_worker_that_ends_lets_nobody_wait() -> None:
    holds, parking, tally, _ = held(table(Hold(id=7)))
    write = Write()
    holds.park(parking, write, 0)
    holds.stop()
    assert write.fate == [Outcome.STOPPED]
    assert holds.park(parking, Write(), 0) is Outcome.STOPPED
    assert tally.counted("holds") == {("catalog", "stopped"): 2}


def test_a_lease_is_renewed_by_every_word_and_lost_without() -> None:
    holds, parking, _, later = held(table(lease=10.0))
    assert holds.closed(parking)  # nobody was heard of yet
    write = Write()
    assert holds.park(parking, write, 0) is None
    assert holds.words() == {}  # no table asks for it
    holds.heard(monotonic() - 11)
    assert later == []
    holds.heard(monotonic() - 1)
    assert later == [write.decide_anew]
    assert not holds.closed(parking)
    holds.heard(monotonic() - 60)  # an answer that was long on its way takes nothing back
    assert not holds.closed(parking)
    assert holds.parking("catalog") is parking


def test_a_hold_outlasts_every_word() -> None:
    holds, parking, _, later = held(table(Hold(id=1), lease=10.0))
    holds.park(parking, Write(), 0)
    holds.heard(monotonic())
    assert holds.closed(parking)
    assert later == []
