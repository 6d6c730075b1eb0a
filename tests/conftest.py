"""Fixtures come by family, from ``tests/fixtures``; a family stands after those that it builds on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = [
    "pytester",
    "tests.fixtures.postgres",
    "tests.fixtures.streams",
    "tests.fixtures.fenced",
    "tests.fixtures.valkey",
    "tests.fixtures.ledger",
    "tests.fixtures.copying",
    "tests.fixtures.command",
    "tests.fixtures.books",
    "tests.fixtures.browser",
]

# Two cores are shared by everything that runs: how long an example takes, or to make one, says nothing.
settings.register_profile("strangler", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("strangler")

# Folders whose modules take long come first, so that no worker is left alone with one when the others have ended;
# the many short modules of tests/unit fill up what is left.
TESTS: Final = Path(__file__).parent
LONGEST_FIRST: Final = ("compose", "e2e", "chaos", "regression", "integration", "conformance", "unit")


@pytest.fixture(scope="session", autouse=True)
def room_for_temporary_files() -> Iterator[None]:
    """Have processes that tests start leave nothing behind: one that is killed cannot take its temporary files away."""
    tempfile.gettempdir()  # remembered: what pytest keeps of tests that failed is to stay
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(prefix="strangler-", ignore_cleanup_errors=True) as folder,
    ):
        patch.setenv("TMPDIR", folder)
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort modules, those with slow tests first in their folder; within a module the order stays as it is written."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}

    def place(item: pytest.Item) -> tuple[int, bool]:
        folder = item.path.relative_to(TESTS).parts[0]
        return LONGEST_FIRST.index(folder), item.path not in slow

    items.sort(key=place)
