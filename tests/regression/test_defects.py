"""Ten subtle defects, each in a copy of a service: the same cases and the same comparison find every one of them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from strangler.regression import Stack
from strangler.regression.pair import Comparison, compared
from tests.fixtures.reviewed import ANNS
from tests.fixtures.shop import SERVICES
from tests.regression.catalog.cases import CASES as CATALOG
from tests.regression.people import People
from tests.regression.reviews.writes import WRITES
from tests.regression.stacks import PUBLIC_NAME, ShopStacks
from tests.regression.through import Remembered

DEFECTS: Final = sorted((Path(__file__).parent / "defects").glob("*/*.patch"))
# Of the reviews what may be done to somebody's: nothing else of them is defective here.
CASES: Final = {"catalog": CATALOG, "reviews": [case for case in WRITES if f"/{ANNS}/" in case.target]}

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


Differing = Callable[[str, Stack], Iterator[Comparison]]


@pytest.fixture
def differing(request: pytest.FixtureRequest, monolith: Stack, remembered: Remembered) -> Differing:
    """Ask the monolith and a service every case, from the same rows, and tell where they differ."""

    def comparisons(name: str, service: Stack) -> Iterator[Comparison]:
        # Who asks nothing of the reviews needs none of their rows.
        again = request.getfixturevalue("rows").again if name == "reviews" else lambda: None
        for case in CASES[name]:
            told = remembered.ask(monolith, case, again)
            again()
            answers = told, service.ask(case)
            comparison = compared(case, (monolith, service), answers)
            if comparison.found:
                yield comparison

    return comparisons


def test_there_are_ten() -> None:
    assert len(DEFECTS) == 10


@pytest.mark.parametrize("patch", DEFECTS, ids=lambda patch: f"{patch.parent.name}-{patch.stem}")
def test_a_defect_is_found(patch: Path, started: Started, differing: Differing, tmp_path: Path) -> None:
    service = patch.parent.name
    folder = copied(service, tmp_path)
    subprocess.run(["git", "apply", str(patch)], cwd=folder, check=True)
    found = next(differing(service, started(service, folder)), None)
    assert found is not None, f"nobody notices: {patch.read_text().partition(chr(10))[0]}"
    print(found)


@pytest.mark.parametrize("service", sorted({patch.parent.name for patch in DEFECTS}))
def test_a_copy_without_a_defect_passes(service: str, started: Started, differing: Differing, tmp_path: Path) -> None:
    copy = started(service, copied(service, tmp_path))
    assert [str(each) for each in differing(service, copy)] == []
