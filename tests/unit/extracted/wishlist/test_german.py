"""Every text of the pages is there in German, and no other is."""

from __future__ import annotations

import re
from pathlib import Path

from wishlist_service.german import TEXTS
from wishlist_service.html import said

FOLDER = Path(__file__).parents[4] / "extracted" / "wishlist" / "wishlist_service"
IN_TEMPLATES = re.compile(r"""\bt\((["'])(.+?)\1""")


def test_every_text_of_the_templates_has_a_german_one() -> None:
    found = {
        text for page in (FOLDER / "templates").glob("*.html") for _, text in IN_TEMPLATES.findall(page.read_text())
    }
    assert found - set(TEXTS) == set()


def test_no_german_text_is_left_over() -> None:
    sources = "".join(path.read_text() for path in (*FOLDER.glob("templates/*.html"), FOLDER / "pages.py"))
    assert [text for text in TEXTS if text not in sources] == []


def test_what_is_named_is_put_in() -> None:
    assert said("de", "Remove %(name)s", name="Tasse") == "Tasse entfernen"
    assert said("en", "Remove %(name)s", name="Tasse") == "Remove Tasse"
    assert said("en", "100 %") == "100 %"
