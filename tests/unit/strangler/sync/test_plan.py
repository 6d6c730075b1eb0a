from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from strangler.sync.plan import Chunk, HandOut, Progress, Seen, Throttle, cut


@given(st.sets(st.integers(0, 10_000), max_size=300), st.integers(1, 50), st.integers(0, 10_000))
def test_every_key_lies_in_exactly_one_chunk(keys: set[int], size: int, late: int) -> None:
    ordered = sorted(keys)
    boundaries = [(str(key),) for key in ordered[size - 1 :: size]]
    chunks = list(cut("product", 7, boundaries, size, len(ordered)))
    for key in {*keys, late}:
        holding = [
            chunk.number
            for chunk in chunks
            if (chunk.low is None or key > int(chunk.low[0])) and (chunk.high is None or key <= int(chunk.high[0]))
        ]
        assert len(holding) == 1
    assert [chunk.number for chunk in chunks] == list(range(7, 7 + len(chunks)))
    assert sum(chunk.expected for chunk in chunks) == len(ordered)


def test_the_remaining_time_follows_the_pace_of_this_sitting() -> None:
    progress = Progress(run=1, chunks=10, chunks_done=6, rows=1_000, rows_done=600, rows_before=400, seconds=2.0)
    assert progress.remaining_s == 4.0


def test_nothing_moved_tells_no_remaining_time() -> None:
    progress = Progress(run=1, chunks=10, chunks_done=4, rows=1_000, rows_done=400, rows_before=400, seconds=2.0)
    assert progress.remaining_s is None


def test_each_chunk_is_given_out_once_while_things_move() -> None:
    hand_out = HandOut(moved_at=0.0)
    assert hand_out.due([0, 1, 2], 0, 0.0, 9) == [0, 1, 2]
    assert hand_out.due([1, 2, 3], 1, 4.0, 9) == [3]
    assert hand_out.due([2, 3], 2, 8.0, 9) == []


def test_what_may_be_lost_is_given_out_again_ever_more_seldom() -> None:
    hand_out = HandOut(moved_at=0.0)
    times = [second for second in range(300) if hand_out.due([4], 0, float(second), 9)]
    assert times == [0, 6, 17, 38, 79, 140, 201, 262]
    assert hand_out.due([4], 1, 300.0, 9) == []
    assert hand_out.due([4], 1, 306.0, 9) == [4]


def test_a_chunk_says_its_table_and_range() -> None:
    chunk = Chunk(number=0, target="sold", low=("1", "a"), high=None, expected=0)
    assert str(chunk) == "sold, keys above 1, a up to the last"


@given(st.floats(1, 1e6), st.integers(1, 1_000), st.integers(1, 10**6), st.floats(0, 1e4), st.integers(0, 1_000))
def test_a_throttled_copy_gives_out_no_more_than_its_pace(
    rows_per_s: float, chunks: int, rows: int, seconds: float, given_out: int
) -> None:
    progress = Progress(run=1, chunks=chunks, chunks_done=0, rows=rows, rows_done=0, rows_before=0, seconds=seconds)
    room = Throttle(rows_per_s=rows_per_s).room(progress, given_out, Seen())
    assert room >= 0
    if room:
        assert (given_out + room - 1) * rows / chunks <= rows_per_s * seconds * 1.001 + 1e-6


BEGUN = Progress(run=1, chunks=4, chunks_done=0, rows=40, rows_done=0, rows_before=0, seconds=1)


def test_a_copy_waits_for_a_stream_that_is_behind() -> None:
    throttle = Throttle(lag_s=5)
    assert [throttle.room(BEGUN, 0, Seen(lag_s=lag)) for lag in (None, 5.0, 5.1)] == [4, 4, 0]
    assert throttle.waits(BEGUN, 0, Seen(lag_s=7.25)) == "the stream is 7.2 s behind, at most 5"


def test_a_copy_waits_for_a_source_that_is_busy() -> None:
    throttle = Throttle(busy=8)
    assert [throttle.room(BEGUN, 0, Seen(busy=busy)) for busy in (None, 0, 8, 9)] == [4, 4, 4, 0]
    assert throttle.waits(BEGUN, 0, Seen(busy=14)) == "source has 14 active sessions, at most 8"


def test_a_copy_at_its_pace_says_so() -> None:
    assert Throttle(rows_per_s=3_000).waits(BEGUN, 9_000, Seen()) == "at most 3,000 rows/s"


limits = st.none() | st.integers(1, 100)
throttles = st.builds(Throttle, rows_per_s=limits, lag_s=limits, busy=limits)
sights = st.builds(Seen, lag_s=st.none() | st.floats(0, 200), busy=st.none() | st.integers(0, 200))


@given(throttles, sights, st.integers(0, 100))
def test_it_says_what_it_waits_for_exactly_when_there_is_no_room(
    throttle: Throttle, seen: Seen, given_out: int
) -> None:
    assert (throttle.room(BEGUN, given_out, seen) == 0) == (throttle.waits(BEGUN, given_out, seen) is not None)


@given(throttles, sights, st.integers(0, 100), st.integers(0, 200), st.floats(0, 200))
def test_more_load_never_gives_more_room_and_what_is_not_known_gives_the_most(
    throttle: Throttle, seen: Seen, given_out: int, more_busy: int, more_lag: float
) -> None:
    worse = Seen(
        lag_s=None if seen.lag_s is None else seen.lag_s + more_lag,
        busy=None if seen.busy is None else seen.busy + more_busy,
    )
    room = throttle.room(BEGUN, given_out, seen)
    assert throttle.room(BEGUN, given_out, worse) <= room <= throttle.room(BEGUN, given_out, Seen())


@given(st.integers(1, 40), st.integers(1, 8), st.lists(st.integers(0, 8), max_size=60))
def test_no_more_chunks_are_abreast_than_may_be_and_all_are_given_out(
    chunks: int, abreast: int, done: list[int]
) -> None:
    hand_out, under_way, waiting, ended = HandOut(moved_at=0.0), set[int](), list(range(chunks)), 0
    for now, some in enumerate([*done, *[1] * (chunks + 1)]):
        for number in sorted(under_way)[:some]:
            under_way.remove(number)
            waiting.remove(number)
            ended += 1
        under_way.update(hand_out.due(waiting, ended, float(now) / 100, chunks, abreast))
        assert len(under_way) <= abreast
    assert not waiting


def test_what_was_lost_makes_room_again() -> None:
    hand_out = HandOut(moved_at=0.0)
    assert hand_out.due([0, 1, 2], 0, 0.0, 9, 2) == [0, 1]
    assert hand_out.due([0, 1, 2], 0, 4.0, 9, 2) == []
    assert hand_out.due([0, 1, 2], 0, 6.0, 9, 2) == [0, 1]
