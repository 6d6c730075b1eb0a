from __future__ import annotations

import pytest

from tests.chaos.faults import WRONGS, Wrong, fault

# Two cores run all of it; alone on a machine it is a few milliseconds.
MOST_MS = 250


@pytest.mark.slow
@pytest.mark.parametrize("wrong", WRONGS, ids=lambda wrong: wrong.what)
def test_the_innocent_are_served(wrong: Wrong) -> None:
    found = fault(wrong)
    assert not found.failures, found.row
    assert found.requests > 200, found.row
    assert found.p99 < MOST_MS, found.row
    assert found.again < 1_000, found.row
