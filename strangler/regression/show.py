"""A disagreement for a terminal: side by side where it is wide, one below the other where it is not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Final

from strangler.regression.pair import Comparison
from strangler.regression.rows import Kind, Row, rows

# Two columns of less hardly hold a line of JSON.
_WIDE: Final = 100
_SIGN: Final = {Kind.EQUAL: " ", Kind.CHANGED: "|", Kind.ONE: "<", Kind.OTHER: ">", Kind.GAP: " "}
_RED, _GREEN, _DIM, _BOLD, _MARKED, _PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[2m", "\x1b[1m", "\x1b[7m", "\x1b[0m"

# A part of a line, and whether it differs.
Parts = list[tuple[str, bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What there is to show of a disagreement; made of plain values, so that it can travel between processes."""

    title: str
    curl: str
    names: tuple[str, str]
    lines: tuple[str, ...]
    exempt: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]

    @classmethod
    def of(cls, comparison: Comparison) -> Shown:
        return cls(
            title=str(comparison.case),
            curl=comparison.curl,
            names=comparison.names,
            lines=comparison.lines,
            exempt=tuple((each.what, each.reason) for each in comparison.exempt),
            rows=rows(comparison.one, comparison.other, comparison.exempt),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "curl": self.curl,
            "names": list(self.names),
            "lines": list(self.lines),
            "exempt": [list(each) for each in self.exempt],
            "rows": [[row.kind.value, row.one, row.other] for row in self.rows],
        }

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Shown:
        return cls(
            title=raw["title"],
            curl=raw["curl"],
            names=(raw["names"][0], raw["names"][1]),
            lines=tuple(raw["lines"]),
            exempt=tuple((what, reason) for what, reason in raw["exempt"]),
            rows=tuple(Row(Kind(kind), one, other) for kind, one, other in raw["rows"]),
        )


def text(shown: Shown, *, width: int, colour: bool = False) -> str:
    """Return ``shown`` for a terminal ``width`` columns wide."""
    paint = _Paint(colour)
    body = _side_by_side(shown, width, paint) if width >= _WIDE else _below_each_other(shown, paint)
    exempt = [paint(_DIM, f"exempt: {what}: {reason}") for what, reason in shown.exempt]
    return "\n".join([paint(_BOLD, shown.title), shown.curl, *exempt, *body])


class _Paint:
    def __init__(self, colour: bool) -> None:
        self._colour = colour

    def __call__(self, code: str, said: str) -> str:
        return f"{code}{said}{_PLAIN}" if self._colour and said else said

    def parts(self, code: str, parts: Parts) -> str:
        if not self._colour or not code:
            return "".join(said for said, _ in parts)
        return "".join(f"{code}{_MARKED if marked else ''}{said}{_PLAIN}" for said, marked in parts if said)


def _side_by_side(shown: Shown, width: int, paint: _Paint) -> Iterator[str]:
    column = (width - 3) // 2
    yield paint(_BOLD, f"{shown.names[0]:<{column}} | {shown.names[1]}")
    for row in shown.rows:
        if row.kind is Kind.GAP:
            yield paint(_DIM, f"  ... {row.one}")
            continue
        one, other = marked(row)
        for left, right in _wrapped(one, other, column):
            padding = " " * (column - sum(len(said) for said, _ in left))
            code = ("", "") if row.kind is Kind.EQUAL else (_RED, _GREEN)
            yield f"{paint.parts(code[0], left)}{padding} {_SIGN[row.kind]} {paint.parts(code[1], right)}".rstrip()


def _below_each_other(shown: Shown, paint: _Paint) -> Iterator[str]:
    yield paint(_RED, f"--- {shown.names[0]}")
    yield paint(_GREEN, f"+++ {shown.names[1]}")
    for row in shown.rows:
        one, other = marked(row)
        if row.kind is Kind.GAP:
            yield paint(_DIM, f"  ... {row.one}")
        elif row.kind is Kind.EQUAL:
            yield f"  {row.one}".rstrip()
        if row.kind in (Kind.CHANGED, Kind.ONE):
            yield paint.parts(_RED, [("- ", False), *one])
        if row.kind in (Kind.CHANGED, Kind.OTHER):
            yield paint.parts(_GREEN, [("+ ", False), *other])


def marked(row: Row) -> tuple[Parts, Parts]:
    """Return the parts of both lines, those marked that differ."""
    if row.kind is not Kind.CHANGED:
        return [(row.one, False)], [(row.other, False)]
    one: Parts = []
    other: Parts = []
    for kind, start, end, first, last in SequenceMatcher(None, row.one, row.other, autojunk=False).get_opcodes():
        one.append((row.one[start:end], kind != "equal"))
        other.append((row.other[first:last], kind != "equal"))
    return one, other


def _wrapped(one: Parts, other: Parts, column: int) -> Iterator[tuple[Parts, Parts]]:
    left, right = _cut(one, column), _cut(other, column)
    for place in range(max(len(left), len(right), 1)):
        yield (left[place] if place < len(left) else []), (right[place] if place < len(right) else [])


def _cut(parts: Parts, column: int) -> Sequence[Parts]:
    cut: list[Parts] = [[]]
    room = column
    for said, is_marked in parts:
        rest = said
        while rest:
            if not room:
                cut.append([])
                room = column
            cut[-1].append((rest[:room], is_marked))
            rest, room = rest[room:], room - min(room, len(rest))
    return cut
