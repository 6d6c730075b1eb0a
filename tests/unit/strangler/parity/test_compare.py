from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler.parity.compare import Answer, differences
from strangler.parity.exempt import declared

JSON = ("content-type", "application/json")
HTML = ("content-type", "text/html; charset=utf-8")


def answer(body: bytes | str = b"", *headers: tuple[str, str], status: int = 200) -> Answer:
    return Answer(status=status, headers=headers, body=body if isinstance(body, bytes) else body.encode())


def told(one: Answer, other: Answer, exempt: Mapping[str, str] | None = None) -> list[str]:
    return [str(each) for each in differences(one, other, declared(exempt or {}))]


def told_json(one: Any, other: Any, *exempt: str) -> list[str]:
    texts = [each if isinstance(each, str) else json.dumps(each) for each in (one, other)]
    return told(answer(texts[0], JSON), answer(texts[1], JSON), dict.fromkeys(exempt, "because"))


def told_html(one: str, other: str, *exempt: str) -> list[str]:
    return told(answer(one, HTML), answer(other, HTML), dict.fromkeys(exempt, "because"))


def test_equal_answers_have_no_differences() -> None:
    assert told(answer("a", JSON), answer("a", JSON)) == []


def test_a_status_is_compared() -> None:
    assert told(answer(status=404), answer(status=403)) == ["status: one 404, other 403"]


def test_a_header_that_is_missing_is_a_difference() -> None:
    assert told(answer("", ("etag", '"1"')), answer()) == ["header etag: one '\"1\"', other has none"]


def test_a_header_that_comes_twice_is_a_difference() -> None:
    assert told(answer("", ("vary", "a"), ("vary", "b")), answer("", ("vary", "a, b"))) == [
        "header vary: one 'a' and 'b', other 'a, b'"
    ]


def test_the_order_of_different_headers_is_none() -> None:
    assert told(answer("", ("a", "1"), ("b", "2")), answer("", ("b", "2"), ("a", "1"))) == []


def test_the_order_of_cookies_is_a_difference() -> None:
    one, other = ("set-cookie", "a=1"), ("set-cookie", "b=2")
    assert told(answer("", one, other), answer("", other, one)) == [
        "header set-cookie: one 'a=1' and 'b=2', other 'b=2' and 'a=1'"
    ]


def test_what_belongs_to_the_hop_or_the_moment_is_exempt() -> None:
    assert told(answer("", ("date", "now"), ("connection", "close")), answer("", ("server", "x"))) == []


def test_a_header_can_be_exempt() -> None:
    assert told(answer("", ("etag", "1")), answer(), {"ETag": "because"}) == []


def test_one_cookie_can_be_exempt_and_not_the_others() -> None:
    one = answer("", ("set-cookie", "visitor=1; Path=/"), ("set-cookie", "a=1"))
    assert told(one, answer("", ("set-cookie", "a=1")), {"set-cookie:visitor": "because"}) == []
    assert len(told(one, answer("", ("set-cookie", "a=2")), {"set-cookie:visitor": "because"})) == 1


def test_cookies_can_be_exempt_by_how_their_names_begin() -> None:
    one = answer("", ("set-cookie", "seen_1f=1; Path=/"), ("set-cookie", "seen_2e=1"), ("set-cookie", "seen=1"))
    exempt = {"set-cookie:seen_*": "because"}
    assert told(one, answer("", ("set-cookie", "seen=1")), exempt) == []
    assert told(answer("", ("vary", "*")), answer(), {"vary:*": "because"}) == []
    assert len(told(answer("", ("vary", "cookie")), answer(), {"vary:*": "because"})) == 1


def test_one_member_of_a_list_can_be_exempt() -> None:
    exempt = {"vary:cookie": "because"}
    assert told(answer("", ("vary", "Accept, Cookie")), answer("", ("vary", "Accept")), exempt) == []
    assert told(answer("", ("vary", "Cookie")), answer(), exempt) == []
    assert len(told(answer("", ("vary", "Accept")), answer("", ("vary", "Cookie")), exempt)) == 1


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ({"a": 1}, {"a": 2}, ["body $.a: one 1, other 2"]),
        ({"a": None}, {}, ["body $.a: one null, other has none"]),
        ({"a": None}, {"a": ""}, ['body $.a: one null, other ""']),
        ({"a": 1}, {"a": True}, ["body $.a: one 1, other true"]),
        ({"a": "1"}, {"a": 1}, ['body $.a: one "1", other 1']),
        ({"a": [1, 2]}, {"a": [1]}, ["body $.a[1]: one 2, other has none"]),
        ({"a": {"b": 1}}, {"a": {"b": 2, "c": 3}}, ["body $.a.b: one 1, other 2", "body $.a.c: one has none, other 3"]),
        ({"a b": {}}, {"a b": []}, ["body $['a b']: one {}, other []"]),
        ("1.50", "1.5", ["body $: one 1.50, other 1.5"]),
        (f"{10**20}", f"{10**20 + 1}", [f"body $: one {10**20}, other {10**20 + 1}"]),
        ("NaN", "null", ["body $: one NaN, other null"]),
        ('{"a": 1, "b": 2}', '{"b": 2, "a": 1}', ["body $ (order of members): one a, b, other b, a"]),
        ('{"a": 1, "a": 2}', '{"a": 2}', ['body $: one {"a": 1, "a": 2}, other {"a": 2}']),
    ],
)  # fmt: skip
def test_json_tells_the_path_of_each_difference(one: Any, other: Any, said: list[str]) -> None:
    assert told_json(one, other) == said


def test_texts_that_look_alike_are_shown_as_escapes() -> None:
    assert told_json('"Caf\u00e9"', '"Cafe\u0301"') == [r'body $: one "Caf\xe9", other "Cafe\u0301"']


def test_the_same_json_written_differently_differs() -> None:
    (said,) = told_json('{"a": 1}', '{"a":1}')
    assert said.startswith("body the same JSON, written differently, from byte 5: ")


def test_a_value_in_json_can_be_exempt() -> None:
    one, other = {"a": [{"id": 1, "n": 1}]}, {"a": [{"id": 2, "n": 1}]}
    assert told_json(one, other, "$.a[*].id") == []
    assert told_json(one, {"a": [{"n": 1}]}, "$.a[*].id") == []
    assert told_json(one, {"a": [{"id": 2, "n": 2}]}, "$.a[*].id") == ["body $.a[0].n: one 1, other 2"]


def test_what_is_no_json_is_compared_as_bytes() -> None:
    assert told_json("{", "{x") == ["body from byte 1: one '{', other '{x'"]
    assert told_json("[" * 100_000, "[") != []


def test_bytes_tell_the_first_place() -> None:
    assert told(answer(b"a\xffb"), answer(b"a\xfeb")) == [r"body from byte 1: one 'a\\xffb', other 'a\\xfeb'"]


PAGE = '<!doctype html>\n<html>\n<body>\n<p class="price">1.50</p>\n<input type="hidden" name="t" value="x">\n</body>'


def test_a_page_tells_the_element_of_each_difference() -> None:
    assert told_html(PAGE, PAGE.replace("1.50", "1.5").replace("<body>", "<body >")) == [
        "body line 3, html: one '<body>', other '<body >'",
        "body line 4, html > body > p.price: one '1.50', other '1.5'",
    ]


def test_what_is_more_in_a_page_is_told() -> None:
    assert told_html(PAGE, PAGE.replace("</p>", "</p><hr>")) == ["body line 4, html > body: one has none, other '<hr>'"]


def test_white_space_between_tags_counts_unless_it_is_exempt() -> None:
    tight = PAGE.replace("\n", "")
    assert len(told_html(PAGE, tight)) == 5
    assert told_html(PAGE, tight, "html whitespace") == []
    assert told_html("<p>a b</p>", "<p>a  b</p>", "html whitespace") != []


def test_an_attribute_of_an_element_can_be_exempt() -> None:
    other = PAGE.replace('value="x"', "value='y'")
    assert told_html(PAGE, other, "html input[name=t]@value") == []
    assert told_html(PAGE, other, "html input@value") == []
    assert len(told_html(PAGE, other, "html input[name=u]@value")) == 1


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON_VALUES, JSON_VALUES)
def test_bodies_differ_exactly_when_their_bytes_do(one: object, other: object) -> None:
    texts = json.dumps(one), json.dumps(other)
    assert bool(told_json(*texts)) == (texts[0] != texts[1])


MARKUP = st.lists(
    st.sampled_from(["<p>", "</p>", "<br>", "<br/>", "text", " ", "\n", "&amp;", "&#38;", "&", "<", ">", "<!-- x -->",
                     "<!doctype html>", "<?x?>", "<![CDATA[x]]>", "<script>", "</script>", "<a b='c'>", "</"]),
    max_size=30,
).map("".join)  # fmt: skip


@given(MARKUP, MARKUP)
def test_pages_differ_exactly_when_their_source_does(one: str, other: str) -> None:
    assert bool(told_html(one, other)) == (one != other)
