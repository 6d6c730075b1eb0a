from __future__ import annotations

import pytest

from tests.chaos.family import CATALOG, KINDS, REVIEWS, ROBOTS, kills

# Whose death may cost whom a failed request; everybody else's stack is alive.
STACKS = {
    "a proxy worker": set(KINDS),
    "Valkey": set(),
    "the service": {CATALOG},
    "the monolith": {REVIEWS, ROBOTS},
    "the stacks' PostgreSQL": {CATALOG, REVIEWS},
    "the ledger's PostgreSQL": set(),
}


@pytest.mark.slow
def test_nothing_fails_whose_stack_is_alive() -> None:
    seen = list(kills())
    assert {each.victim for each in seen} == STACKS.keys()
    for each in seen:
        if each.kind not in STACKS[each.victim]:
            assert not each.failures, each.row
        if each.victim == "a proxy worker":  # one request can be in flight on each kind's connection
            assert each.failures.total() <= 1, each.row
        assert each.requests > 0
