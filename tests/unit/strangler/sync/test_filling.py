"""How much of a copy is written at a time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from strangler.sync.filling import LEAST, MOST, PIECE_S, Took, fitting

SIZES = st.integers(1, 2 * MOST)
SECONDS = st.floats(0, 100)


@given(SIZES, SECONDS, SECONDS)
def test_a_piece_is_never_too_small_to_be_worth_it_nor_too_large_for_memory(
    size: int, rows: float, fixed: float
) -> None:
    assert LEAST <= fitting(size, Took(rows + fixed, fixed)) <= MOST


@given(SIZES, SECONDS, SECONDS, SECONDS)
def test_where_rows_take_longer_pieces_are_not_larger(size: int, one: float, other: float, fixed: float) -> None:
    quick, slow = (fitting(size, Took(rows + fixed, fixed)) for rows in sorted((one, other)))
    assert quick >= slow


@given(st.floats(0, 1), st.floats(1e7, 1e9))
def test_a_piece_comes_to_take_its_time_of_which_half_is_its_rows(fixed: float, rate: float) -> None:
    """``rate`` is bytes a second; a piece takes ``fixed`` seconds besides."""
    size = LEAST
    for _ in range(5):
        size = fitting(size, Took(fixed + size / rate, fixed))
    wanted = rate * (PIECE_S - fixed if fixed < PIECE_S / 2 else fixed)
    assert abs(size - max(LEAST, min(MOST, wanted))) <= 0.01 * wanted
