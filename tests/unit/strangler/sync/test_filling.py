"""How much of a copy is written at a time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from strangler.sync.filling import LEAST, MOST, PIECE_S, fitting

SIZES = st.integers(1, 2 * MOST)
SECONDS = st.floats(1e-6, 100)


@given(SIZES, SECONDS)
def test_a_piece_is_never_too_small_to_be_worth_it_nor_too_large_for_memory(size: int, seconds: float) -> None:
    assert LEAST <= fitting(size, seconds) <= MOST


@given(SIZES, SECONDS, SECONDS)
def test_where_pieces_take_longer_they_are_not_larger(size: int, one: float, other: float) -> None:
    assert fitting(size, min(one, other)) >= fitting(size, max(one, other))


@given(st.integers(0, 20), st.floats(1e7, 1e9))
def test_pieces_come_to_take_their_time_where_each_costs_something_by_itself(milliseconds: int, rate: float) -> None:
    """``rate`` is bytes a second, and each piece waits for so many ``milliseconds`` besides."""
    size = LEAST
    for _ in range(50):
        size = fitting(size, milliseconds / 1000 + size / rate)
    wanted = rate * (PIECE_S - milliseconds / 1000)
    assert abs(size - max(LEAST, min(MOST, wanted))) <= max(0.01 * wanted, 100)
