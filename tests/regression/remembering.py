"""Fixtures: what the stacks say directly is remembered for the proxy's turn."""

from __future__ import annotations

from dataclasses import replace

import pytest

from strangler.regression.pair import BothStacks, Comparison
from tests.regression.through import Remembered


@pytest.fixture(scope="module")
def remembered() -> Remembered:
    return Remembered()


@pytest.fixture
def both_stacks(both_stacks: BothStacks, remembered: Remembered) -> BothStacks:
    """Both stacks; what they say is remembered for the proxy's turn."""

    def note(comparison: Comparison) -> None:
        both_stacks.note(comparison)
        remembered.keep(both_stacks, comparison)

    return replace(both_stacks, note=note)
