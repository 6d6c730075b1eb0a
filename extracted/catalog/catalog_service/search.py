"""What a visitor looks for on the list of products; what was asked wrongly is left out and said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import takewhile
from types import MappingProxyType
from typing import Final

from markupsafe import Markup

from catalog_service.language import said

_SORTS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = MappingProxyType(
    {
        "": ("Newest first", ("-created_at",)),
        "price": ("Price, lowest first", ("price",)),
        "-price": ("Price, highest first", ("-price",)),
        "name": ("Name", ("name",)),
    }
)
_MOST_LETTERS: Final = 100
_INDENT: Final = "\N{NO-BREAK SPACE}" * 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """A category in reading order, ``depth`` steps below the top."""

    id: int
    slug: str
    title: str
    depth: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field of the form, with its widget in HTML."""

    name: str
    label: str
    widget: Markup
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What was asked, and what of it counts."""

    q: Field
    category: Field
    sort: Field
    words: tuple[str, ...]
    chosen: Shelf | None
    branch: tuple[int, ...] | None
    ordering: tuple[str, ...]


def read(parameters: Mapping[str, str], shelves: Sequence[Shelf], language: str) -> Search:
    """Return the search in a query's ``parameters``."""
    letters, slug, sort = (parameters.get(name, "") for name in ("q", "category", "sort"))
    wrong = _wrong_words(letters.strip(), language)
    known = {shelf.slug: shelf for shelf in shelves}
    sorts = [(key, said(text, language)) for key, (text, _) in _SORTS.items()]
    branches = [
        ("", said("All categories", language)),
        *((each.slug, _INDENT * each.depth + each.title) for each in shelves),
    ]
    return Search(
        q=Field(name="q", label="Search", widget=_input(letters, bool(wrong), language), errors=wrong),
        category=_choice("category", "Category", slug, branches, language),
        sort=_choice("sort", "Sort by", sort, sorts, language),
        words=() if wrong else tuple(letters.split()),
        chosen=known.get(slug),
        branch=_branch(shelves, slug) if slug in known else None,
        ordering=_SORTS.get(sort, _SORTS[""])[1],
    )


def _branch(shelves: Sequence[Shelf], slug: str) -> tuple[int, ...]:
    """Return the ids of a category and all below it, which follow it at once in reading order."""
    start = next(place for place, shelf in enumerate(shelves) if shelf.slug == slug)
    below = takewhile(lambda shelf: shelf.depth > shelves[start].depth, shelves[start + 1 :])
    return (shelves[start].id, *(shelf.id for shelf in below))


def _wrong_words(letters: str, language: str) -> tuple[str, ...]:
    wrong = []
    if len(letters) > _MOST_LETTERS:
        text = "Ensure this value has at most %(most)d characters (it has %(has)d)."
        wrong.append(said(text, language, most=_MOST_LETTERS, has=len(letters)))
    if "\0" in letters:
        wrong.append(said("Null characters are not allowed.", language))
    return tuple(wrong)


def _input(letters: str, wrong: bool, language: str) -> Markup:
    value = f' value="{escape(letters)}"' if letters else ""
    hint = escape(said("Name or article number", language))
    return Markup(  # noqa: S704 - everything in it is escaped
        f'<input type="search" name="q"{value} maxlength="{_MOST_LETTERS}" placeholder="{hint}"'
        f'{_marks("q", wrong)} id="id_q">'
    )


def _choice(name: str, label: str, value: str, choices: Sequence[tuple[str, str]], language: str) -> Field:
    wrong: tuple[str, ...] = ()
    if value not in dict(choices):
        wrong = (said("Select a valid choice. %(value)s is not one of the available choices.", language, value=value),)
    options = "".join(
        f'\n  <option value="{escape(key)}"{" selected" if key == value else ""}>{escape(text)}</option>\n'
        for key, text in choices
    )
    widget = f'<select name="{name}"{_marks(name, bool(wrong))} id="id_{name}">{options}\n</select>'
    return Field(name=name, label=label, widget=Markup(widget), errors=wrong)  # noqa: S704 - everything in it is escaped


def _marks(name: str, wrong: bool) -> str:
    return f' aria-invalid="true" aria-describedby="id_{name}_error"' if wrong else ""
