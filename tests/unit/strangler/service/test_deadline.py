"""How long a caller still waits, as it says and as it is understood."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler.service.deadline import MOST_S, read, remaining, within


@pytest.mark.parametrize(("text", "seconds"), [("0", 0.0), ("1", 0.001), ("1500", 1.5), ("00250", 0.25)])
def test_milliseconds_are_read(text: str, seconds: float) -> None:
    assert read(text) == seconds


def test_nobody_waits_longer_than_a_minute() -> None:
    assert read("999999999") == MOST_S


@pytest.mark.parametrize("text", [None, "", "-1", "+1", "1.5", "1e3", " 1", "1,2", "soon", "١", "1" * 10])
def test_nonsense_is_as_good_as_nothing(text: str | None) -> None:
    assert read(text) is None


@given(st.text())
def test_whatever_comes_is_bounded(text: str) -> None:
    seconds = read(text)
    assert seconds is None or 0 <= seconds <= MOST_S


def test_nobody_has_said_anything_at_first() -> None:
    assert remaining() is None
    with within(None):
        assert remaining() is None


def test_a_deadline_is_narrowed_and_never_widened() -> None:
    with within(10):
        with within(5):
            assert 4 < (remaining() or 0) <= 5
        with within(20):
            assert 9 < (remaining() or 0) <= 10
        with within(None):
            assert 9 < (remaining() or 0) <= 10
    assert remaining() is None


def test_what_is_over_does_not_become_negative() -> None:
    with within(0):
        assert remaining() == 0
