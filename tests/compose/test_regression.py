"""The regression suite's reads, asked of the stacks in containers: directly, and through the proxy at either end of the
share."""

from __future__ import annotations

from typing import Final

import pytest

from strangler.regression import BothStacks, Case
from strangler.regression.addresses import StackAddresses
from strangler.regression.pair import Disagreement
from strangler.regression.record import Record
from strangler.regression.stack import Stack
from tests.compose.running import Running
from tests.regression.catalog.cases import CASES as CATALOG
from tests.regression.named import shown
from tests.regression.people import People
from tests.regression.reviews.cases import CASES as REVIEWS
from tests.regression.stacks import PUBLIC_NAME, Share
from tests.regression.through import Through

WHOLE: Final = 10_000
CAPABILITIES: Final = {"catalog": CATALOG, "reviews": REVIEWS}


@pytest.mark.capability("catalog")
@pytest.mark.parametrize("case", CATALOG, ids=shown)
def test_the_catalog_is_answered_alike(both_stacks: BothStacks, case: Case) -> None:
    both_stacks.agree(case)


@pytest.mark.capability("reviews")
@pytest.mark.parametrize("case", REVIEWS, ids=shown)
def test_the_reviews_are_answered_alike(both_stacks: BothStacks, case: Case) -> None:
    both_stacks.agree(case)


@pytest.mark.parametrize("share", [0, WHOLE])
@pytest.mark.parametrize("capability", sorted(CAPABILITIES))
def test_the_proxy_passes_on_what_the_stack_says(
    running: Running,
    credentials: People,
    compared: Record,
    stack_addresses: StackAddresses,
    capability: str,
    share: int,
) -> None:
    def one(name: str, address: str) -> Stack:
        return Stack(address, name=name, public_name=PUBLIC_NAME, credentials=credentials)

    through = Through(
        share=Share(capability=capability, share=share),
        proxy=one("proxy", running.address),
        monolith=one("monolith", stack_addresses.monolith),
        service=one("service", stack_addresses.of("service", capability)),
        note=compared.note,
    )
    wrong = []
    with running.shares(capability, f"{share // 100}%"):
        for case in CAPABILITIES[capability]:
            try:
                through.agree(case)
            except (Disagreement, AssertionError) as exc:
                wrong.append(f"{shown(case)}: {exc}")
    for each in (through.proxy, through.monolith, through.service):
        each.close()
    assert not wrong, "\n".join(wrong[:10])
