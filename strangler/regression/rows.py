"""Two answers as rows of text, side by side, with what is equal left out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from enum import StrEnum
from itertools import groupby, zip_longest
from typing import Final, NamedTuple

from strangler.parity import structure
from strangler.parity.compare import Answer, visible
from strangler.parity.exempt import ALWAYS, Exemption, declared
from strangler.parity.shown import distinct

_CONTEXT: Final = 3
# A list that is ordered otherwise differs in each of its lines; nobody reads more than the first screens of it.
_MOST: Final = 400
_BYTES_A_LINE: Final = 32
_LONG_LINE: Final = 200


class Kind(StrEnum):
    EQUAL = "equal"
    CHANGED = "changed"
    ONE = "one"
    OTHER = "other"
    GAP = "gap"


class Row(NamedTuple):
    """A line of each; of a gap, what it leaves out."""

    kind: Kind
    one: str
    other: str


def rows(one: Answer, other: Answer, exempt: Iterable[Exemption] = ()) -> tuple[Row, ...]:
    """Return the lines of two answers, aligned: what differs, and a few lines around it."""
    allowed = (*declared(ALWAYS), *exempt)
    every = list(_aligned(lines(one, allowed), lines(other, allowed)))
    shown = list(_folded(every))
    if len(shown) > _MOST:
        left = f"{len(shown) - _MOST} rows more"
        shown = [*shown[:_MOST], Row(Kind.GAP, left, left)]
    return tuple(shown)


def _aligned(one: list[str], other: list[str]) -> Iterator[Row]:
    for kind, start, end, first, last in SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        if kind == "equal":
            yield from (Row(Kind.EQUAL, each, each) for each in one[start:end])
        else:
            yield from (_row(*pair) for pair in zip_longest(one[start:end], other[first:last]))


def _row(one: str | None, other: str | None) -> Row:
    if one is None:
        return Row(Kind.OTHER, "", other or "")
    if other is None:
        return Row(Kind.ONE, one, "")
    return Row(Kind.CHANGED, *distinct(one, other))


def _folded(every: list[Row]) -> Iterator[Row]:
    near = {
        place + step
        for place, row in enumerate(every)
        if row.kind is not Kind.EQUAL
        for step in range(-_CONTEXT, _CONTEXT + 1)
    }
    for is_near, run in groupby(enumerate(every), lambda each: each[0] in near):
        found = [row for _, row in run]
        if is_near or len(found) == 1:  # a line takes no more room than what would be said about it
            yield from found
        else:
            said = f"{len(found)} equal lines"
            yield Row(Kind.GAP, said, said)


def lines(answer: Answer, exempt: Iterable[Exemption] = ()) -> list[str]:
    """Return an answer as lines that a terminal can show: status, headers by name, body."""
    named = visible(answer, exempt)
    headers = [f"{name}: {value}" for name in sorted(named) for value in named[name]]
    return [_printable(each) for each in (str(answer.status), *headers, "", *_body(answer))]


def _body(answer: Answer) -> list[str]:
    try:
        if answer.is_json:
            return list(_json(structure.parse(answer.body)))
        text = answer.body.decode()
    except ValueError:
        chunks = range(0, len(answer.body), _BYTES_A_LINE)
        return [repr(answer.body[start : start + _BYTES_A_LINE])[2:-1] for start in chunks]
    return [piece for line in text.splitlines() for piece in _pieces(line)]


def _pieces(line: str) -> list[str]:
    return line.replace("><", ">\n<").split("\n") if len(line) > _LONG_LINE else [line]


def _json(value: object, before: str = "", after: str = "", depth: int = 0) -> Iterator[str]:
    """Write JSON with a line for each value, members in their order and numbers with every digit."""
    indent = "  " * depth
    if isinstance(value, list) and value:
        yield f"{indent}{before}["
        for each in value[:-1]:
            yield from _json(each, "", ",", depth + 1)
        yield from _json(value[-1], "", "", depth + 1)
        yield f"{indent}]{after}"
    elif isinstance(value, tuple) and value:
        yield f"{indent}{before}{{"
        for name, each in value[:-1]:
            yield from _json(each, f"{_text(name)}: ", ",", depth + 1)
        name, each = value[-1]
        yield from _json(each, f"{_text(name)}: ", "", depth + 1)
        yield f"{indent}}}{after}"
    else:
        yield f"{indent}{before}{_text({} if value == () else value)}{after}"


def _text(value: object) -> str:
    return str(value) if isinstance(value, structure.Number) else json.dumps(value, ensure_ascii=False)


def _printable(line: str) -> str:
    """Return ``line`` without what would move a terminal's cursor."""
    return "".join(each if each.isprintable() or each == " " else ascii(each)[1:-1] for each in line)
