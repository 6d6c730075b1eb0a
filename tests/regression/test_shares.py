"""Who answers through the proxy at each share: as many as it says, and each visitor always the same stack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from strangler.capability import WHOLE
from strangler.regression import Case
from strangler.routing.bucket import bucket
from strangler.routing.keys import Keys, sign_visitor
from tests.regression.conftest import Proxied
from tests.regression.stacks import Share
from tests.regression.through import SHARES

TARGET = "/api/catalog/categories/?page_size=1"


Answered = Callable[[Share], Counter[str]]


@pytest.mark.parametrize("share", [each.share for each in SHARES])
def test_a_share_of_the_visitors_is_answered_by_the_service(
    answered: Answered, proxied: Proxied, keys: Keys, share: int
) -> None:
    place = Share(capability="catalog", share=share)
    proxy = proxied(place)
    before = answered(place)
    visitors = [f"visitor-number-{number:03}" for number in range(40)]
    for visitor in visitors:
        cookie = f"strangler_visitor={sign_visitor(visitor, keys)}"
        assert proxy.ask(Case(target=TARGET, headers={"Cookie": cookie})).status == 200
    below = sum(bucket("catalog", visitor) < share for visitor in visitors)
    assert below in {0: [0], WHOLE: [40]}.get(share, range(10, 31))
    assert answered(place) - before == +Counter(service=below, monolith=40 - below)


def test_a_visitor_is_told_a_cookie_once_and_stays(answered: Answered, proxied: Proxied) -> None:
    place = Share(capability="catalog", share=WHOLE // 2)
    proxy = proxied(place)
    first = proxy.ask(Case(target=TARGET))
    (cookie,) = first.all("set-cookie")
    before = answered(place)
    again = [proxy.ask(Case(target=TARGET, headers={"Cookie": cookie.partition(";")[0]})) for _ in range(10)]
    assert [answer.all("set-cookie") for answer in again] == [()] * 10
    assert list((answered(place) - before).values()) == [10]
