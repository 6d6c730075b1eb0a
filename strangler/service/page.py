"""Pages of a list, numbered as by Django REST framework: which rows a number means, and the links to its neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from strangler.service.answer import Refused
from strangler.service.asked import Asked

_USUAL: Final = 20
_MOST: Final = 100


class NoSuchPage(Refused):
    """The number asked for is none, or there are not so many pages."""

    def __init__(self) -> None:
        super().__init__(404, {"detail": "Invalid page."})


@dataclass(frozen=True, slots=True, kw_only=True)
class PageAsked:
    """Which page of which size; ``number`` None is the last."""

    number: int | None
    size: int

    @classmethod
    def of(cls, asked: Asked) -> PageAsked:
        """Read ``?page=`` and ``?page_size=``. A page that is no number is kept as 0, which no page has."""
        number = asked.parameters.get("page") or "1"
        return cls(number=None if number == "last" else _whole(number, 0), size=_size(asked))

    def of_total(self, count: int) -> Page:
        """Return the page among ``count`` rows; raises ``NoSuchPage``. An empty list has one page."""
        last = max(1, -(-count // self.size))
        number = last if self.number is None else self.number
        if not 1 <= number <= last:
            raise NoSuchPage
        return Page(number=number, last=last, count=count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page that exists."""

    number: int
    last: int
    count: int

    def around(self, results: list[dict[str, object]], asked: Asked) -> dict[str, object]:
        """Return the envelope of ``results`` with links that keep the rest of the query."""
        return {
            "count": self.count,
            "next": _link(asked, self.number + 1) if self.number < self.last else None,
            "previous": _link(asked, self.number - 1) if self.number > 1 else None,
            "results": results,
        }


def _link(asked: Asked, number: int) -> str:
    scheme, netloc, path, query, fragment = urlsplit(asked.url)
    parameters = parse_qs(query, keep_blank_values=True)
    parameters.pop("page", None)
    if number > 1:
        parameters["page"] = [str(number)]
    return urlunsplit((scheme, netloc, path, urlencode(sorted(parameters.items()), doseq=True), fragment))


def _size(asked: Asked) -> int:
    size = _whole(asked.parameters.get("page_size", ""), 0)
    return min(size, _MOST) if size > 0 else _USUAL


def _whole(text: str, otherwise: int) -> int:
    try:
        return int(text)
    except ValueError:
        return otherwise
