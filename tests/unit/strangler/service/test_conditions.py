"""Dates and entity tags are read as the other stack reads them: its framework's own functions are asked."""

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from django.utils.http import parse_etags, parse_http_date_safe
from hypothesis import given
from hypothesis import strategies as st

from strangler.service.conditions import Conditions, instant, tags

TAG, AT = '"a"', "Fri, 01 Mar 2024 12:00:00 GMT"
EARLIER, LATER = "Fri, 01 Mar 2024 11:59:59 GMT", "Fri, 01 Mar 2024 12:00:01 GMT"
days = st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001


@given(days)
def test_a_date_in_today_s_format_is_read(day: datetime) -> None:
    text = format_datetime(day, usegmt=True)
    assert instant(text) == parse_http_date_safe(text)


@given(days, st.sampled_from(["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"]))
def test_a_date_in_an_old_format_is_read(day: datetime, form: str) -> None:
    assert instant(day.strftime(form)) == parse_http_date_safe(day.strftime(form))


@given(st.text(alphabet='Ww/"a*, \t'))
def test_tags_are_read(text: str) -> None:
    assert list(tags(text)) == parse_etags(text)


@pytest.mark.parametrize(
    ("conditions", "verdict"),
    [
        ({}, 200),
        ({"if-none-match": '"a"'}, 304),
        ({"if-none-match": 'W/"a"'}, 304),
        ({"if-none-match": '"b"'}, 200),
        ({"if-none-match": "*"}, 304),
        ({"if-modified-since": AT}, 304),
        ({"if-modified-since": EARLIER}, 200),
        ({"if-none-match": '"b"', "if-modified-since": LATER}, 200),
        ({"if-match": '"b"'}, 412),
        ({"if-match": '"a"', "if-unmodified-since": EARLIER}, 200),
        ({"if-unmodified-since": EARLIER}, 412),
        ({"if-unmodified-since": LATER, "if-none-match": '"a"'}, 304),
    ],
)
def test_conditions_are_weighed_in_their_order(conditions: dict[str, str], verdict: int) -> None:
    assert Conditions.of(conditions).verdict(tag=TAG, changed=AT) == verdict
