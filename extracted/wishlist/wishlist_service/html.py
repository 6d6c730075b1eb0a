"""Pages as HTML, in the look of the shop's other pages."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from strangler.service.asked import Asked
from wishlist_service.german import TEXTS

LANGUAGES: Final[Mapping[str, str]] = MappingProxyType({"en": "English", "de": "Deutsch"})
_ENVIRONMENT: Final = Environment(
    loader=PackageLoader("wishlist_service"), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
)


def rendered(template: str, asked: Asked, language: str, **context: Any) -> bytes:
    """Return the page that was ``asked`` for."""
    page = _ENVIRONMENT.get_template(template).render(
        language=language,
        languages=LANGUAGES,
        this_page_in=partial(_this_page_in, asked),
        t=partial(said, language),
        **context,
    )
    return page.encode()


def said(language: str, text: str, **named: object) -> str:
    """Return ``text`` in ``language``, with what is ``named`` put in."""
    template = TEXTS.get(text, text) if language == "de" else text
    return template % named if named else template


def of_path(path: str) -> str:
    """Return the language of the page at ``path``, all of which begin with one; the usual one elsewhere."""
    code = path.split("/", 2)[1]
    return code if code in LANGUAGES else "en"


def _this_page_in(asked: Asked, code: str) -> str:
    rest = asked.path.split("/", 2)[-1]
    return asked.target_at(f"/{code}/{rest}")
