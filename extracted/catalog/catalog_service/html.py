"""Pages as HTML: the same bytes as the other stack's templates give."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from html import escape
from typing import Any, Final
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from catalog_service.language import LANGUAGES, number, said
from strangler.service.asked import Asked

_ENVIRONMENT: Final = Environment(
    loader=PackageLoader("catalog_service"),
    autoescape=True,
    undefined=StrictUndefined,
    keep_trailing_newline=True,
    auto_reload=False,
)
_LINE_END: Final = re.compile(r"\r\n|\r|\n")


def rendered(template: str, asked: Asked, language: str, *, other: Mapping[str, str], **context: Any) -> bytes:
    """Return the page; ``other`` maps each language to the address of the same page in it."""
    page = _ENVIRONMENT.get_template(template).render(
        language=language,
        languages=LANGUAGES,
        searched=asked.parameters.get("q", ""),
        this_page_in=other.__getitem__,
        t=partial(_said, language),
        number=partial(number, language=language),
        query_with=partial(_query_with, asked),
        stars=stars,
        worded=worded,
        lines=lines,
        facts=facts,
        **context,
    )
    # The other stack escapes quotes under other names; both are the same to a reader, and so are the bytes now.
    return page.replace("&#34;", "&quot;").replace("&#39;", "&#x27;").encode()


def stars(rating: object) -> str:
    """Return five stars, the first of them filled."""
    filled = round(float(str(rating or 0)))
    return "★" * filled + "☆" * (5 - filled)


def worded(name: str) -> str:
    """Return an attribute's name as it reads on a page."""
    return name.replace("_", " ").capitalize()


def lines(text: str) -> Markup:
    """Return ``text`` escaped, its line ends kept."""
    return Markup("<br>").join(Markup(escape(line)) for line in _LINE_END.split(text))  # noqa: S704 - escaped here


def facts(attributes: object) -> list[tuple[str, object]]:
    """Return a product's attributes as they are listed; whatever is no object has none."""
    return list(attributes.items()) if isinstance(attributes, dict) else []


def _said(language: str, text: str, **named: object) -> str:
    return said(text, language, **named)


def _query_with(asked: Asked, **changes: object) -> str:
    query = {**asked.parameters, **{name: str(value) for name, value in changes.items()}}
    return "?" + urlencode({name: value for name, value in query.items() if value})
