"""Every address, field and status of the recommendations has a case."""

from __future__ import annotations

import pytest

from strangler.regression import Case, Stack
from strangler.regression.plugin import Judge
from strangler.regression.surface import Surface
from tests.regression.recommendations.cases import CASES, LIKE


@pytest.mark.capability("recommendations")
def test_everything_that_the_recommendations_promise_has_a_case(
    monolith: Stack, promised: dict[str, Surface], coverage: Judge
) -> None:
    asked = [(case, monolith.ask(case)) for case in CASES]
    unchanged = Case(target=f"{LIKE}1/", headers={"If-None-Match": asked[0][1].header("etag")})
    coverage(promised["recommendations"], [*asked, (unchanged, monolith.ask(unchanged))]).require()
