"""Every address, filter, field and status of the reviews has a case."""

from __future__ import annotations

from typing import Final

import pytest

from strangler.regression import Stack
from strangler.regression.plugin import Judge
from strangler.regression.surface import Surface
from tests.regression.conftest import Rows
from tests.regression.reviews.cases import CASES
from tests.regression.reviews.writes import WRITES

_TOO_OFTEN: Final = "the suite writes more often than anybody may, so its stacks are told not to count"
UNSEEN: Final = {
    f"{operation} 429{field}": _TOO_OFTEN
    for operation in (
        "POST /api/reviews/",
        "PATCH /api/reviews/{id}/",
        "DELETE /api/reviews/{id}/",
        "POST /api/reviews/{id}/photos/",
        "POST /api/reviews/{id}/vote/",
        "DELETE /api/reviews/{id}/vote/",
        "POST /api/catalog/products/{product_id}/reviews/",
    )
    for field in ("", " $.detail")
}


@pytest.mark.capability("reviews")
def test_everything_that_the_reviews_promise_has_a_case(
    monolith: Stack, promised: dict[str, Surface], coverage: Judge, rows: Rows
) -> None:
    asked = [(case, monolith.ask(case)) for case in CASES]
    for case in WRITES:
        rows.again()
        asked.append((case, monolith.ask(case)))
    coverage(promised["reviews"], asked, UNSEEN).require()
