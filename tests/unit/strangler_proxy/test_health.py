"""Which endpoint is asked next."""

from __future__ import annotations

from dataclasses import dataclass, field

from strangler_proxy.health import Health, choose


@dataclass
class Place:
    name: str
    pending: int = 0
    health: Health = field(default_factory=Health)


def test_equals_take_turns_and_the_less_busy_comes_first() -> None:
    places = [Place("a"), Place("b"), Place("c")]
    assert [choose(places, turn, 0.0).name for turn in range(4)] == ["a", "b", "c", "a"]
    places[0].pending = places[1].pending = 1
    assert {choose(places, turn, 0.0).name for turn in range(4)} == {"c"}


def test_a_refusal_skips_for_longer_each_time_up_to_a_limit() -> None:
    health = Health()
    waits = []
    for _ in range(8):
        health.refused(100.0)
        waits.append(health.skipped_until - 100.0)
    assert waits == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    health.connected()
    health.refused(200.0)
    assert health.skipped_until == 200.25


def test_a_skipped_endpoint_is_asked_again_later_and_when_all_are_skipped() -> None:
    one, other = Place("one"), Place("other")
    one.health.refused(0.0)
    assert choose([one, other], 0, 0.1) is other
    assert choose([one, other], 0, 0.3) is one
    other.health.refused(0.0)
    assert choose([one, other], 0, 0.1) is one
