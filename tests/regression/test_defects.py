"""Ten subtle defects, each in a copy of a service: the same cases and the same comparison find every one of them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from strangler.regression import Case, Stack
from strangler.regression.pair import Comparison, compared
from tests.fixtures.shop import SERVICES
from tests.regression.catalog.cases import CASES as CATALOG
from tests.regression.people import People
from tests.regression.stacks import PUBLIC_NAME, ShopStacks
from tests.regression.through import Remembered

DEFECTS: Final = sorted((Path(__file__).parent / "defects").glob("*/*.patch"))
CASES: Final = {"catalog": CATALOG}

Started = Callable[[str, Path], Stack]


@pytest.fixture
def started(stack_addresses: ShopStacks, credentials: People, tmp_path: Path) -> Iterator[Started]:
    """Run a service from a folder, for as long as the test lasts."""
    with ExitStack() as exits:

        def start(service: str, folder: Path) -> Stack:
            address = stack_addresses.run(service, folder, exits)
            stack = Stack(address, name="service", public_name=PUBLIC_NAME, credentials=credentials)
            exits.callback(stack.close)
            return stack

        yield start


def copied(service: str, into: Path) -> Path:
    folder = into / service
    shutil.copytree(SERVICES / service, folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    return folder


def disagreements(monolith: Stack, service: Stack, cases: Sequence[Case], told: Remembered) -> Iterator[Comparison]:
    for case in cases:
        answers = told.ask(monolith, case), service.ask(case)
        comparison = compared(case, (monolith, service), answers)
        if comparison.found:
            yield comparison


def test_there_are_ten() -> None:
    assert len(DEFECTS) == 10


@pytest.mark.parametrize("patch", DEFECTS, ids=lambda patch: f"{patch.parent.name}-{patch.stem}")
def test_a_defect_is_found(
    patch: Path, monolith: Stack, started: Started, remembered: Remembered, tmp_path: Path
) -> None:
    service = patch.parent.name
    folder = copied(service, tmp_path)
    subprocess.run(["git", "apply", str(patch)], cwd=folder, check=True)
    found = next(disagreements(monolith, started(service, folder), CASES[service], remembered), None)
    assert found is not None, f"nobody notices: {patch.read_text().partition(chr(10))[0]}"
    print(found)


@pytest.mark.parametrize("service", sorted({patch.parent.name for patch in DEFECTS}))
def test_a_copy_without_a_defect_passes(
    service: str, monolith: Stack, started: Started, remembered: Remembered, tmp_path: Path
) -> None:
    copy = started(service, copied(service, tmp_path))
    assert [str(each) for each in disagreements(monolith, copy, CASES[service], remembered)] == []
