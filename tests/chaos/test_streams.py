from __future__ import annotations

import pytest

from tests.chaos.streams import matrix


@pytest.mark.slow
def test_streams_go_on_by_themselves_and_lose_nothing() -> None:
    victims = ("the applier", "the target's PostgreSQL")
    for result in matrix(rounds=2, victims=victims, seed=3):
        assert (result.equal, result.twice) == (True, 0), result.row
        assert result.written > 0
        assert max(result.seconds) < 60, result.row
