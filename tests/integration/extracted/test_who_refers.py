"""Foreign keys from outside into the capabilities' tables: what the mappings say of them fits both stacks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from strangler.project import Secret
from strangler.sync.check import policies_of
from strangler.sync.direction import directions, inverted
from strangler.sync.referring import incoming
from tests.fixtures.shop import Shop


@pytest.mark.parametrize("capability", ["catalog", "reviews"])
def test_the_example_has_an_answer_for_all_who_refer(shop: Shop, capability: str) -> None:
    """In both databases, as their own migrations make them."""
    files = shop.project.capabilities[capability]
    service = shop.service(files.service)
    ends = replace(
        shop.project,
        monolith=replace(shop.project.monolith, database=Secret(value=shop.monolith)),
        services={files.service: replace(shop.project.services[files.service], database=Secret(value=service))},
    )
    forward, _ = directions(files, ends)
    assert inverted(forward).claims["reviews_review"] == "reviews"
    assert inverted(forward).claims["catalog_product"] == capability  # first its own, then what others copy of it
    assert set(forward.claims.values()) == {capability}
    with forward.open() as (source, target):
        for each in (forward, inverted(forward)):
            here, there = (source, target) if each is forward else (target, source)
            projections = each.projections(here, there)
            mapped = [one.target.oid for one in projections]
            keys = [key for one in projections for key in incoming(there, one.target.oid, mapped, each.claims)]
            answers = [answer for one in projections for answer in one.mapping.referred_by]
            assert [key for key in keys if not any(key.is_meant(answer) for answer in answers)] == []
            policies_of(each, projections, there)
