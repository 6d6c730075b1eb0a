from __future__ import annotations

import pytest

from tests.chaos.faults import WRONGS, Wrong, fault

# Two cores run all of it; alone on a machine it is a few milliseconds.
MOST_MS = 250
# Alone it is under 10; 5,000 connections that end at once are a burst of work for the one core that is left.
STRANGER_MS = 3_000


@pytest.mark.slow
@pytest.mark.parametrize("wrong", WRONGS, ids=lambda wrong: wrong.what)
def test_the_innocent_are_served(wrong: Wrong) -> None:
    found = fault(wrong)
    assert not found.failures, found.row
    assert found.requests > 200, found.row
    assert found.p99 < MOST_MS, found.row
    assert found.again < STRANGER_MS, found.row
