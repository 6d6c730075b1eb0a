import gettext
import re
from pathlib import Path

import pytest
from django.core.management import call_command

PROJECT = Path(__file__).parent.parent
WRITTEN = sorted(PROJECT.glob("*/locale/de/LC_MESSAGES/django.po"))


def compiled(written):
    with written.with_suffix(".mo").open("rb") as file:
        return gettext.GNUTranslations(file)._catalog


@pytest.mark.django_db
def test_models_and_migrations_agree(capsys):
    call_command("makemigrations", "--check", "--dry-run")


def test_every_text_of_the_pages_is_translated():
    keys = {key for each in WRITTEN for key in compiled(each)}
    known = {key[0] if isinstance(key, tuple) else key for key in keys}
    said = set()
    for template in PROJECT.glob("*/templates/**/*.html"):
        said |= {text for _, text in re.findall(r"""\{% translate (["'])(.+?)\1 %\}""", template.read_text("utf-8"))}
    for source in PROJECT.glob("*/*.py"):
        said |= set(re.findall(r'\b_\("(.+?)"\)', source.read_text("utf-8")))
    assert len(said) > 80
    assert said - known == set()


@pytest.mark.parametrize("written", WRITTEN, ids=lambda path: path.relative_to(PROJECT).parts[0])
def test_the_compiled_translation_is_the_written_one(written):
    text = written.read_text("utf-8")
    for translated in filter(None, compiled(written).values()):
        for line in translated.splitlines():
            assert line.replace('"', '\\"') in text


def test_a_text_is_translated_one_way():
    ways = {}
    for written in WRITTEN:
        for key, translated in compiled(written).items():
            if key:
                ways.setdefault(key, set()).add(translated)
    assert {key: ways for key, ways in ways.items() if len(ways) > 1} == {}
