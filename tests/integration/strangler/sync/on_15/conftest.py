"""The same tests on PostgreSQL 15, where it is installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from strangler.local import Postgres
from tests.fixtures.postgres import Postgres15, running


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running cluster of the oldest release."""
    if not Postgres15.PROGRAMS.exists():
        pytest.skip("PostgreSQL 15 is not installed")
    with running(Postgres15) as server:
        yield server
