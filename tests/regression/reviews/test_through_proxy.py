"""What the reviews say is what comes out of the proxy, whatever the share is."""

from __future__ import annotations

import pytest

from strangler.regression import Case
from tests.regression.named import shown
from tests.regression.reviews.cases import CASES
from tests.regression.through import Through

pytestmark = pytest.mark.capability("reviews")


@pytest.mark.parametrize("case", CASES, ids=shown)
def test_the_proxy_passes_on_what_the_stack_says(through: Through, case: Case) -> None:
    through.agree(case)
