"""What the pages say in German is what the other stack says: its catalogs and its framework's are read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from gettext import GNUTranslations
from pathlib import Path
from typing import Final

import django
import pytest
from catalog_service.german import TEXTS

ROOT: Final = Path(__file__).parents[4]
CATALOGS: Final = (
    *(ROOT / "legacy_monolith").glob("*/locale/de/LC_MESSAGES/django.mo"),
    Path(django.__file__).parent / "conf/locale/de/LC_MESSAGES/django.mo",
)
# Texts that depend on a number are found by what they say of one.
OF_ONE: Final = {
    "%(counter)s products": "%(counter)s product",
    "Ensure this value has at most %(most)d characters (it has %(has)d).": (
        "Ensure this value has at most %(limit_value)d character (it has %(show_value)d)."
    ),
}


def said_there(text: str) -> Iterator[str]:
    for path in CATALOGS:
        with path.open("rb") as file:
            catalog = GNUTranslations(file)
        said = catalog.ngettext(OF_ONE[text], text, 2) if text in OF_ONE else catalog.gettext(text)
        if said != text:
            yield said


def unnamed(text: str) -> str:
    return re.sub(r"%\(\w+\)", "%", text)


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_the_one_that_is_said_there(text: str) -> None:
    assert unnamed(TEXTS[text]) in map(unnamed, [*said_there(text)] or [text])
