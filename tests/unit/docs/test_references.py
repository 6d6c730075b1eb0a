from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from strangler.capability import Data, Stage
from strangler.cli import app
from strangler.project import load
from strangler.project.section import Section

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")])
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


def verbs(command: Any, name: str) -> Iterator[tuple[str, set[str]]]:
    """Yield each verb with its long options."""
    if hasattr(command, "commands"):
        for word, inner in command.commands.items():
            yield from verbs(inner, f"{name} {word}")
        return
    options = {each for param in command.params for each in param.opts if each.startswith("--")}
    yield name, options - {"--help"}


def sections(page: Path) -> dict[str, str]:
    """Return the text under each second-level heading."""
    parts = re.split(r"^## (.+)$", page.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_verb_and_option_is_in_the_reference_and_nothing_else() -> None:
    code = dict(verbs(typer.main.get_command(app), "strangler"))
    written = {name: set(_OPTION.findall(text)) for name, text in sections(DOCS / "reference" / "cli.md").items()}
    assert written == code


def test_the_options_before_the_verb_are_in_the_reference() -> None:
    root = typer.main.get_command(app)
    options = {each for param in root.params for each in param.opts if each.startswith("--")}
    head = (DOCS / "reference" / "cli.md").read_text().partition("## ")[0]
    assert set(_OPTION.findall(head)) - {"--json"} == options - {"--help"}


def test_the_example_files_load_and_have_every_key_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (DOCS / "reference" / "configuration.md").read_text()
    for title, text in re.findall(r'```toml title="([^"]+)"\n(.*?)```', page, flags=re.DOTALL):
        file = tmp_path / title
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    asked: set[tuple[str, str]] = set()
    there: set[tuple[str, str]] = set()
    real = Section.has

    def has(self: Section, key: str) -> bool:
        place = re.sub(r"\d+$", "", f"{self.file} {self.name}")
        asked.add((place, key))
        there.update((place, name) for name in self.values)
        return real(self, key)

    monkeypatch.setattr(Section, "has", has)
    project = load(tmp_path / "strangler.toml", {})
    assert list(project.capabilities) == ["catalog"]
    missing = asked - there
    assert missing == set(), "keys that the loader asks for and the reference does not show"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_begins_with_what_it_is_about(page: Path) -> None:
    title, _, rest = page.read_text().partition("\n")
    assert title.startswith("# ")
    assert re.match(r"[A-Z\"`\[*]", rest.lstrip("\n")), "a sentence comes before headings, commands and tables"
    assert not rest.lstrip("\n").startswith("```")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_anchors_lead_to_headings(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", text):
        there = (page.parent / target).read_text() if target else page.read_text()
        assert anchor in headings(there), f"{page.name}: {target}#{anchor}"


def headings(page: str) -> set[str]:
    """Return the anchors of a page's headings, as the site makes them."""
    text = re.sub(r"```.*?```", "", page, flags=re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    words = (re.sub(r"[^\w\s-]", "", re.sub(r"\]\([^)]*\)", "", title)) for title in titles)
    return {re.sub(r"[\s-]+", "-", each.strip().lower()) for each in words}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_shows_what_the_site_does_not_draw(page: Path) -> None:
    assert "```mermaid" not in page.read_text(), "the site draws no Mermaid: it would be loaded from elsewhere"


def test_the_glossary_names_every_stage() -> None:
    glossary = (DOCS / "reference" / "glossary.md").read_text()
    for word in (*Stage, Data.SNAPSHOT):
        assert f"`{word}`" in glossary or f"| {word} |" in glossary


def test_every_decision_is_listed() -> None:
    listed = (DOCS / "decisions" / "index.md").read_text()
    files = {page.name for page in (DOCS / "decisions").glob("0*.md")}
    assert set(re.findall(r"\((0[^)]+\.md)\)", listed)) == files


def test_make_commands_that_are_written_about_exist() -> None:
    made = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for page in PAGES:
        for name in re.findall(r"(?:^|`|    )make ([a-z][a-z-]+)", page.read_text(), flags=re.MULTILINE):
            assert name in made, f"{page.name}: make {name}"
