"""Pages as their source: cut into tags and text, so that a difference can be told by the element that it is in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from html.parser import HTMLParser
from typing import Final

from strangler.parity.exempt import Exemption, Kind
from strangler.parity.shown import brief, distinct

# Elements without an end tag (HTML standard, section 13.1.2).
_VOID: Final = frozenset(
    "area base br col embed hr img input link meta param source track wbr".split()  # noqa: SIM905 - reads better
)
_DEEPEST_SHOWN: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A tag, a text or a comment as it is written, its line, and the elements that it lies in."""

    source: str
    line: int
    inside: tuple[str, ...]
    tag: str | None = None

    @property
    def place(self) -> str:
        within = " > ".join(self.inside[-_DEEPEST_SHOWN:])
        return f"line {self.line}, {within}" if within else f"line {self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlike:
    """A place in the first page, and what stands there in each; None where there is nothing."""

    place: str
    one: str | None
    other: str | None


def unlike(one: str, other: str, exempt: Iterable[Exemption] = ()) -> Iterator[Unlike]:
    """Yield each place at which two pages differ, apart from what is exempt."""
    exempt = tuple(exempt)
    left, right = _without(pieces(one), exempt), _without(pieces(other), exempt)
    matcher = SequenceMatcher(None, [each.source for each in left], [each.source for each in right], autojunk=False)
    for kind, start, end, first, last in matcher.get_opcodes():
        if kind != "equal":
            where = (left[start:] or left[-1:] or right[first:])[0]
            yield _told(where.place, left[start:end], right[first:last])


def _told(place: str, one: list[Piece], other: list[Piece]) -> Unlike:
    mine, theirs = (None if not each else "".join(piece.source for piece in each) for each in (one, other))
    if mine is not None and theirs is not None:
        mine, theirs = distinct(mine, theirs)
    return Unlike(place=place, one=_quoted(mine), other=_quoted(theirs))


def _quoted(text: str | None) -> str | None:
    return None if text is None else brief(repr(text))


def pieces(source: str) -> list[Piece]:
    """Return the pieces of a page; put together they are the page again."""
    return list(_Cutter(source).cut())


class _Cutter(HTMLParser):
    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=False)
        self._source = source
        self._starts = [0, *(match.end() for match in re.finditer("\n", source))]
        self._marks: list[tuple[int, str | None, tuple[str, ...]]] = []
        self._open: list[tuple[str, str]] = []

    def cut(self) -> Iterator[Piece]:
        self.feed(self._source)
        self.close()
        ends = [start for start, _, _ in self._marks[1:]] + [len(self._source)] * bool(self._marks)
        for (start, tag, inside), end in zip(self._marks, ends, strict=True):
            yield Piece(source=self._source[start:end], line=self._line(start), inside=inside, tag=tag)

    def _line(self, start: int) -> int:
        return self._source.count("\n", 0, start) + 1

    def _mark(self, tag: str | None = None) -> None:
        line, column = self.getpos()
        start = 0 if not self._marks else self._starts[line - 1] + column
        self._marks.append((start, tag, tuple(shown for _, shown in self._open)))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._mark(tag)
        if tag not in _VOID:
            self._open.append((tag, _shown(tag, dict(attrs))))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._mark(tag)

    def handle_endtag(self, tag: str) -> None:
        places = [place for place, (each, _) in enumerate(self._open) if each == tag]
        if places:
            del self._open[places[-1] :]
        self._mark()

    def handle_data(self, data: str) -> None:
        self._mark()

    def handle_entityref(self, name: str) -> None:
        self._mark()

    def handle_charref(self, name: str) -> None:
        self._mark()

    def handle_comment(self, data: str) -> None:
        self._mark()

    def handle_decl(self, decl: str) -> None:
        self._mark()

    def handle_pi(self, data: str) -> None:
        self._mark()

    def unknown_decl(self, data: str) -> None:
        self._mark()


def _shown(tag: str, attributes: dict[str, str | None]) -> str:
    if name := attributes.get("id"):
        return f"{tag}#{name}"
    return ".".join([tag, *(attributes.get("class") or "").split()])


def _without(page: list[Piece], exempt: tuple[Exemption, ...]) -> list[Piece]:
    attributes = [each.attribute for each in exempt if each.kind is Kind.ATTRIBUTE]
    kept = [_blanked(each, attributes) for each in page]
    if any(each.kind is Kind.SPACE for each in exempt):
        kept = [piece for piece in kept if piece.tag or piece.source.strip()]
    return kept


def _blanked(piece: Piece, attributes: Iterable[tuple[str, str | None, str | None, str]]) -> Piece:
    for tag, name, value, wanted in attributes:
        if piece.tag == tag and (name is None or _attribute(piece.source, name) == value):
            piece = replace(piece, source=_set(piece.source, wanted))
    return piece


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"""(\s{re.escape(name)}\s*=\s*)("[^"]*"|'[^']*'|[^\s>]*)""", re.IGNORECASE)


def _attribute(tag: str, name: str) -> str | None:
    found = _pattern(name).search(tag)
    return None if found is None else found[2].strip("\"'")


def _set(tag: str, name: str) -> str:
    return _pattern(name).sub(r'\1"(exempt)"', tag)
