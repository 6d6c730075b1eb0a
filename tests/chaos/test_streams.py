from __future__ import annotations

import pytest

from tests.chaos.streams import kills, made


@pytest.mark.slow
def test_streams_go_on_by_themselves_and_lose_nothing() -> None:
    with made(seed=3) as bed:
        for victim in ("the applier", "the target's PostgreSQL"):
            result = kills(bed, victim, rounds=2)
            assert (result.equal, result.twice) == (True, 0), result.row
            assert result.written > 0
            assert max(result.seconds) < 60, result.row
        seen = bed.ask(bed.target, "select id, version from seen limit 1")
        assert seen, "the trigger has seen changes"
        bed.ask(bed.target, "insert into seen select * from seen limit 1")  # as if it had been applied twice
        assert bed.twice() == 1
