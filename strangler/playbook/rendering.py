"""A playbook as Markdown, and as one page of HTML that needs nothing else: no script, no font, no server."""

from __future__ import annotations

import re
from typing import Final

from jinja2 import Environment, PackageLoader

from strangler.playbook.sheet import Playbook, failing

_MARKUP: Final = re.compile(r"([\\`*_{}\[\]<>#|!~&])")
_MARKS: Final = {"pass": "✓", "fail": "✗", "inconclusive": "?"}
_STOPS: Final = {"done": "✓", "under way": "…", "next": "→", "later": "○", "unknown": "?"}


def markdown(book: Playbook, docs: str) -> str:
    """Return the playbook as Markdown; ``docs`` is where its links lead, see ``Link.at``."""
    return _render("playbook.md", book, docs)


def html(book: Playbook, docs: str) -> str:
    """Return the playbook as a page."""
    return _render("playbook.html", book, docs)


def _render(template: str, book: Playbook, docs: str) -> str:
    environment = Environment(
        loader=PackageLoader("strangler.playbook", ""),
        autoescape=template.endswith(".html"),  # Markdown has an escape of its own
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"plain": plain, "code": code}
    return environment.get_template(template).render(
        book=book, docs=docs, marks=_MARKS, stops=_STOPS, failing=failing(book.step.gates)
    )


def plain(text: object) -> str:
    """Return ``text`` so that Markdown shows it as it is, on one line."""
    return _MARKUP.sub(r"\\\1", " ".join(str(text).split()))


def code(text: str) -> str:
    """Return a command line as an indented block has it: nothing in it is markup there."""
    return "    " + "\n    ".join(text.splitlines())
