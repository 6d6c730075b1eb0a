from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from strangler.ledger.publish import LIVE_S, Worker, late, newest_words

workers = st.builds(
    Worker,
    id=st.sampled_from("abc"),
    version=st.integers(0, 20),
    age=st.floats(0, 10),
    about=st.just("host pid"),
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
