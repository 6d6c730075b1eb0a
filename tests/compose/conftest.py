"""The stack of compose/compose.yaml, started for these tests under a name and a port of its own, with data of its own.

They want a container engine and built images, so `make test` leaves them out; `make compose-test` says
STRANGLER_COMPOSE=1. STRANGLER_COMPOSE_KEEP=1 leaves the stack running, and uses the one that was left.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

import pytest

from compose import stack
from tests.compose.running import COMPOSE, Running
from tests.fixtures.ports import free_port
from tests.fixtures.reviewed import PRODUCTS, REVIEWS
from tests.fixtures.shop import DIFFICULT

collect_ignore_glob: list[str] = [] if os.environ.get("STRANGLER_COMPOSE") else ["test_*.py", "regression"]
PROJECT: Final = "strangler-test"


@pytest.fixture(scope="session")
def running() -> Iterator[Running]:
    """Both stacks, healthy, over the rows that are difficult; gone afterwards, with their data."""
    # The suite writes more often than anybody may.
    os.environ |= {"ANONYMOUS_WRITES": "100000/min", "USER_WRITES": "100000/min"}
    engine, keep = stack.Engine.found(PROJECT), bool(os.environ.get("STRANGLER_COMPOSE_KEEP"))
    if keep and engine.containers("proxy"):
        yield Running(engine=engine)
        return
    stack.down(engine, volumes=True)
    os.environ["STRANGLER_PORT"] = str(free_port())
    try:
        stack.up(engine, [COMPOSE])
        found = Running(engine=engine)
        for rows in (DIFFICULT, PRODUCTS, REVIEWS):
            found.sql(rows)
        found.until_followed()
        yield found
    finally:
        if not keep:
            stack.down(engine, volumes=True)
