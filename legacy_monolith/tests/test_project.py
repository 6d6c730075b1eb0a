import gettext
import re
from pathlib import Path

import pytest
from django.core.management import call_command

PROJECT = Path(__file__).parent.parent
GERMAN = PROJECT / "shop" / "locale" / "de" / "LC_MESSAGES"


@pytest.mark.django_db
def test_models_and_migrations_agree(capsys):
    call_command("makemigrations", "--check", "--dry-run")


def test_every_text_of_the_pages_is_translated():
    with (GERMAN / "django.mo").open("rb") as compiled:
        catalog = gettext.GNUTranslations(compiled)._catalog
    known = {key[0] if isinstance(key, tuple) else key for key in catalog}
    said = set()
    for template in PROJECT.glob("*/templates/**/*.html"):
        said |= {text for _, text in re.findall(r"""\{% translate (["'])(.+?)\1 %\}""", template.read_text("utf-8"))}
    for source in PROJECT.glob("*/*.py"):
        said |= set(re.findall(r'\b_\("(.+?)"\)', source.read_text("utf-8")))
    assert len(said) > 80
    assert said - known == set()


def test_the_compiled_translation_is_the_written_one():
    written = (GERMAN / "django.po").read_text("utf-8")
    with (GERMAN / "django.mo").open("rb") as compiled:
        catalog = gettext.GNUTranslations(compiled)._catalog
    for text in filter(None, catalog.values()):
        for line in text.splitlines():
            assert line.replace('"', '\\"') in written
