"""What RFC 9110 and RFC 9112 ask of a proxy, case by case over sockets: whole pieces first, then byte by byte."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.case import Case
from tests.conformance.cases import CASES
from tests.conformance.stage import Stage


@pytest.fixture(scope="module")
def plain() -> Iterator[Stage]:
    with Stage() as stage:
        yield stage


@pytest.fixture(scope="module")
def trusting() -> Iterator[Stage]:
    with Stage(trusted=True) as stage:
        yield stage


def _parameters() -> Iterator[object]:
    for case in CASES:
        marks = [pytest.mark.xfail(strict=True, reason=case.wrong)] if case.wrong else []
        yield pytest.param(case, False, id=case.says, marks=marks)
        if case.cut:
            yield pytest.param(case, True, id=f"{case.says}, byte by byte", marks=marks)


@pytest.mark.parametrize(("case", "cut"), list(_parameters()))
def test(case: Case, cut: bool, plain: Stage, trusting: Stage) -> None:
    (trusting if case.trusted else plain).play(case, cut)


def test_each_case_says_something_else() -> None:
    assert len({case.says for case in CASES}) == len(CASES) >= 150
