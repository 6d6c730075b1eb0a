from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from strangler.ledger.publish import LIVE_S, Held, Worker, late, newest_words, writing

workers = st.builds(
    Worker,
    id=st.sampled_from("abc"),
    version=st.integers(0, 20),
    age=st.floats(0, 10),
    about=st.just("host pid"),
    held=st.dictionaries(
        st.sampled_from(["catalog", "orders"]), st.builds(Held, id=st.integers(0, 3), in_flight=st.integers(0, 2))
    ),
)


def test_a_live_worker_at_an_older_version_is_waited_for() -> None:
    behind = Worker(id="a", version=4, age=0.2, about="host 1")
    assert late([behind, Worker(id="b", version=5, age=0.2, about="host 2")], 5) == [behind]


def test_a_worker_that_fell_silent_is_not_waited_for() -> None:
    assert late([Worker(id="a", version=4, age=LIVE_S + 0.1, about="host 1")], 5) == []


@given(st.lists(workers))
def test_of_two_words_of_a_worker_the_higher_version_and_the_younger_age_count(words: list[Worker]) -> None:
    best = newest_words(words)
    assert best.keys() == {word.id for word in words}
    for word in words:
        assert best[word.id].version >= word.version
        assert best[word.id].age <= word.age
        for name, held in word.held.items():
            newest = best[word.id].held[name]
            assert (newest.id, -newest.in_flight) >= (held.id, -held.in_flight)
            assert newest in [each.held.get(name) for each in words if each.id == word.id]


def held(name: str, age: float, **said: int) -> Worker:
    return Worker(id=name, version=5, age=age, about="", held={"orders": Held(**said)} if said else {})


def test_who_has_said_nothing_of_a_hold_or_has_writes_under_way_may_write() -> None:
    silent, busy, still = held("a", 0.1), held("b", 0.1, id=7, in_flight=1), held("c", 0.1, id=7, in_flight=0)
    earlier = held("d", 0.1, id=6, in_flight=0)
    assert writing([silent, busy, still, earlier], "orders", 7) == [silent, busy, earlier]


def test_a_worker_is_waited_for_until_its_lease_is_over() -> None:
    for age, waited in [(LIVE_S - 0.1, True), (LIVE_S + 0.1, True), (9.9, True), (10.1, False)]:
        assert bool(writing([held("a", age)], "orders", 7, lease_s=10.0)) is waited
    assert writing([held("a", LIVE_S + 0.1)], "orders", 7) == []
