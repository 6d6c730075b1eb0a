from __future__ import annotations

import re
from pathlib import Path

import pytest

from strangler.playbook import Key
from strangler.playbook.link import how_to
from strangler.playbook.signs import Sign, every, signs

DOCS = Path(__file__).parents[4] / "docs"
ALARMS = set(re.findall(r"alert: (\w+)", (DOCS / "reference" / "alerts.yml").read_text()))


def anchors(page: str) -> set[str]:
    """Return the anchors of a page's headings, as the site makes them."""
    titles = re.findall(r"^#+ (.+)$", (DOCS / f"{page}.md").read_text(), flags=re.MULTILINE)
    return {"", *(re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles)}


@pytest.mark.parametrize("sign", every(), ids=lambda each: each.shows)
def test_a_sign_leads_to_a_section_that_there_is(sign: Sign) -> None:
    assert sign.link.anchor in anchors(sign.link.page)


@pytest.mark.parametrize("sign", every(), ids=lambda each: each.shows)
def test_an_alarm_that_a_sign_names_is_one_that_there_is(sign: Sign) -> None:
    named = set(re.findall(r"\bStrangler\w+", sign.shows))
    assert named <= ALARMS
    if sign.link.page.startswith("how-to/alarms-"):
        assert sign.link.title in ALARMS


@pytest.mark.parametrize("key", Key)
def test_every_kind_of_step_has_its_signs(key: Key) -> None:
    assert signs(key, has_tables=True)
    assert signs(key, has_tables=False)


@pytest.mark.parametrize(
    ("base", "wanted"),
    [
        ("docs", "docs/how-to/sync.md#check"),
        ("../docs/", "../docs/how-to/sync.md#check"),
        ("https://docs.example/s/", "https://docs.example/s/how-to/sync/#check"),
    ],
)
def test_a_link_leads_to_a_site_or_to_files(base: str, wanted: str) -> None:
    assert how_to("sync", "check", "Check").at(base) == wanted
