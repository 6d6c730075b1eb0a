from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from strangler.routing.cohort import Cohort, Source
from tests.fixtures.facts import Asked

OFFICE = Cohort(name="office", source=Source.CIDR, values=("192.0.2.0/24", "2001:db8::/32"))


@pytest.mark.parametrize(
    ("source", "asked"),
    [
        (Source.HEADER, Asked(headers={"beta": "1"})),
        (Source.COOKIE, Asked(cookies={"beta": "1"})),
        (Source.QUERY, Asked(query={"beta": "1"})),
    ],
)
def test_a_cohort_looks_where_it_says(source: Source, asked: Asked) -> None:
    for values, expected in (((), True), (("1",), True), (("0", "1"), True), (("0",), False)):
        cohort = Cohort(name="beta", source=source, key="beta", values=values)
        assert cohort.holds(asked, {}) is expected
        assert not cohort.holds(Asked(), {"beta": "1"})


def test_a_segment_is_what_the_route_captured() -> None:
    cohort = Cohort(name="german", source=Source.SEGMENT, key="lang", values=("de", "at"))
    assert cohort.holds(Asked(), {"lang": "at"})
    assert not cohort.holds(Asked(), {"lang": "en"})
    assert not cohort.holds(Asked(headers={"lang": "de"}), {"other": "de"})


def test_an_empty_value_is_there() -> None:
    assert Cohort(name="beta", source=Source.QUERY, key="beta").holds(Asked(query={"beta": ""}), {})


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        ("192.0.2.0", True),
        ("192.0.2.255", True),
        ("192.0.3.0", False),
        ("2001:db8:1::1", True),
        ("2001:db9::1", False),
        ("::ffff:192.0.2.7", True),
        ("::ffff:198.51.100.1", False),
        ("fe80::1%eth0", False),
        ("", False),
        ("/run/app.sock", False),
        ("192.0.2.7, 10.0.0.1", False),
    ],
)
def test_a_network_holds_its_addresses(client: str, expected: bool) -> None:
    assert OFFICE.holds(Asked(client=client), {}) is expected


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Cohort(name="a", source=Source.CIDR), "a cidr cohort names at least one network"),
        (lambda: Cohort(name="a", source=Source.CIDR, values=("192.0.2.1/24",)), "192.0.2.1/24 has host bits set"),
        (
            lambda: Cohort(name="a", source=Source.CIDR, values=("here",)),
            "'here' does not appear to be an IPv4 or IPv6 network",
        ),
        (lambda: Cohort(name="a", source=Source.HEADER), "a header cohort names its header"),
        (lambda: Cohort(name="a", source=Source.SEGMENT), "a segment cohort names its segment"),
        (lambda: Cohort(name="a", source=Source.HEADER, key="x käse"), "'x käse' is no name of a header"),
        (lambda: Cohort(name="a", source=Source.COOKIE, key="a=b"), "'a=b' is no name of a cookie"),
    ],
)
def test_a_cohort_refuses_to_be_built_wrong(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        build()
