from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from strangler.sync.plan import Chunk, HandOut, Progress, Throttle, cut


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
    room = Throttle(rows_per_s=rows_per_s).room(progress, given_out, None)
    assert room >= 0
    if room:
        assert (given_out + room - 1) * rows / chunks <= rows_per_s * seconds * 1.001 + 1e-6


def test_a_copy_waits_for_a_stream_that_is_behind() -> None:
    progress = Progress(run=1, chunks=4, chunks_done=0, rows=40, rows_done=0, rows_before=0, seconds=1)
    throttle = Throttle(lag_s=5)
    assert [throttle.room(progress, 0, lag) for lag in (None, 5.0, 5.1)] == [4, 4, 0]
