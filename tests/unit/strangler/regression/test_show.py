from __future__ import annotations

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from strangler.parity.compare import Answer
from strangler.parity.exempt import declared
from strangler.regression import Case
from strangler.regression.pair import Comparison
from strangler.regression.rows import Kind, Row, lines, rows
from strangler.regression.show import Shown, marked, text

JSON = (("content-type", "application/json"), ("date", "now"))
CASE = Case(target="/api/", exempt={"x-id": "made anew"})


def answer(value: object) -> Answer:
    return Answer(status=200, headers=JSON, body=json.dumps(value).encode())


def shown(one: object, other: object) -> Shown:
    return Shown.of(
        Comparison(
            case=CASE, one=answer(one), other=answer(other), names=("monolith", "service"), curl="curl x",
            exempt=CASE.exemptions,
        )
    )  # fmt: skip


ITEMS = {"count": 1, "results": [{"id": n, "price": "1.50"} for n in range(8)]}
OTHERS = {"count": 1, "results": [{"id": n, "price": "1.5" if n == 7 else "1.50"} for n in range(8)]}


def test_an_answer_is_told_line_by_line_with_every_digit() -> None:
    body = b'{"a": [1.50, 1e3, {}, [], "\xc3\xbc\\u001b"], "b": {"c": null}}'
    assert lines(Answer(status=404, headers=(("x", "2"), ("a", "1")), body=body)) == [
        "404", "a: 1", "x: 2", "", body.decode(),
    ]  # fmt: skip
    assert lines(Answer(status=200, headers=JSON, body=body), declared({"content-type": "said", "date": "now"})) == [
        "200", "", "{", '  "a": [', "    1.50,", "    1e3,", "    {},", "    [],", '    "ü\\u001b"', "  ],",
        '  "b": {', '    "c": null', "  }", "}",
    ]  # fmt: skip


def test_what_cannot_be_read_is_told_as_bytes() -> None:
    assert lines(Answer(status=200, headers=(), body=b"\xff" * 33))[2:] == [r"\xff" * 32, r"\xff"]


def test_what_is_equal_is_left_out() -> None:
    kinds = [row.kind for row in rows(answer(ITEMS), answer(OTHERS))]
    assert kinds == [Kind.GAP, *[Kind.EQUAL] * 3, Kind.CHANGED, *[Kind.EQUAL] * 3]


def test_what_only_one_has_stands_alone() -> None:
    found = rows(Answer(status=200, headers=(("etag", "1"),), body=b""), Answer(status=200, headers=(), body=b""))
    assert Row(Kind.ONE, "etag: 1", "") in found


def test_the_letters_that_differ_are_marked() -> None:
    assert marked(Row(Kind.CHANGED, "a1b", "a2b")) == (
        [("a", False), ("1", True), ("b", False)],
        [("a", False), ("2", True), ("b", False)],
    )


def test_a_wide_terminal_shows_both_side_by_side() -> None:
    said = text(shown(ITEMS, OTHERS), width=100).splitlines()
    assert said[:3] == ["GET /api/", "curl x", "exempt: x-id: made anew"]
    assert said[3] == f"{'monolith':<48} | service"
    (changed,) = [line for line in said if line[48:51] == " | " and "price" in line]
    assert (changed[:48].strip(), changed[51:].strip()) == ('"price": "1.50"', '"price": "1.5"')
    assert all(len(line) <= 100 for line in said)


def test_a_narrow_terminal_shows_one_below_the_other() -> None:
    said = text(shown(ITEMS, OTHERS), width=80).splitlines()
    assert [line for line in said if line.startswith(("-", "+"))] == [
        "--- monolith",
        "+++ service",
        '-       "price": "1.50"',
        '+       "price": "1.5"',
    ]


def test_colours_add_nothing_but_colours() -> None:
    found = shown(ITEMS, OTHERS)
    for width in (80, 120):
        coloured = text(found, width=width, colour=True)
        plain = re.sub("\x1b\\[[0-9]+m", "", coloured)
        assert "\x1b[31m" in coloured
        assert [line.rstrip() for line in plain.splitlines()] == text(found, width=width).splitlines()


def test_what_is_shown_travels_as_json() -> None:
    found = shown(ITEMS, OTHERS)
    assert Shown.from_json(json.loads(json.dumps(found.to_json()))) == found


@given(st.binary(max_size=60), st.binary(max_size=60), st.sampled_from(["application/json", "text/html", "x/y"]))
def test_any_two_answers_can_be_shown(one: bytes, other: bytes, media_type: str) -> None:
    left, right = (Answer(status=200, headers=(("content-type", media_type),), body=each) for each in (one, other))
    found = rows(left, right)
    assert all(line.isprintable() for row in found for line in (row.one, row.other))
