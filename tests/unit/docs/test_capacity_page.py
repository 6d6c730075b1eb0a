"""The page about capacity repeats what the reports say, and reckons right with it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from strangler.project.values import Sync
from strangler_proxy.doors import most_clients

FOLDER: Final = Path(__file__).parents[3] / "docs" / "explanation"
TEXT: Final = (FOLDER / "capacity.md").read_text()
OPERATE: Final = (FOLDER.parent / "how-to" / "operate.md").read_text()
FAILURES: Final = (FOLDER / "failures.md").read_text()


def rows(title: str) -> list[list[str]]:
    """Return the cells of the last table under a heading, without its head."""
    part = TEXT.partition(f"## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


FIGURES: Final = rows("Figures")


def reported(source: str) -> float:
    """Return what a report says: ``performance.json``: NAME, perhaps "its peer"; or a path of keys in one."""
    match = re.fullmatch(r"`([\w-]+\.json)`: (.+?)(, its peer)?", source)
    assert match is not None, source
    told: Any = json.loads((FOLDER / match[1]).read_text())
    if isinstance(told, dict):
        for key in match[2].split("."):
            told = told[key]
        return float(told)
    (row,) = [each for each in told if each["name"] == match[2]]
    return float(row["peer" if match[3] else "ours"])


def shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def test_there_are_figures() -> None:
    assert len(FIGURES) > 20


@pytest.mark.parametrize("row", FIGURES, ids=lambda row: row[0])
def test_a_figure_is_that_of_its_report(row: list[str]) -> None:
    assert row[1] == shown(reported(row[3]))


def test_what_the_sync_costs_the_owner_is_that_of_its_report() -> None:
    (ratio,) = re.findall(r"owner's p99 with the sync was ([\d.]+) times", TEXT)
    told = json.loads((FOLDER / "sync-performance.json").read_text())
    assert [float(ratio)] == [
        each["ratio"] for each in told if each["name"] == "the owner's writes at 60% of its maximum, p99"
    ]


def figure(what: str) -> float:
    (row,) = [each for each in FIGURES if each[0] == what]
    return float(row[1].replace(",", ""))


def test_the_units_are_those_of_the_reports() -> None:
    for _, _, unit, source in FIGURES:
        file, _, name = source.strip("`").partition("`: ")
        told = json.loads((FOLDER / file).read_text())
        if isinstance(told, list):
            assert unit in {each["unit"] for each in told if each["name"] == name.removesuffix(", its peer")}


def test_the_example_is_reckoned_right() -> None:
    plain, spilled = figure("the same as plain Python"), round(278.43e6 / 1_200_000)
    assert spilled == 232
    assert {row[0]: row[2] for row in rows("An example")} == {
        "the proxy's cores at the peak": f"{3_000 / (plain / 2):.2f}",
        "descriptors of a worker": f"{2 * 20_000 + 40:,}",
        "memory of the proxy": f"{2 * 69.3 + 20_000 * figure('an idle client') / 1000:.0f} MB",
        "cores of `sync run`": f"{500 / figure('a stream as plain Python'):.3f}",
        "slots, WAL senders and sessions on the monolith's server": "4",
        "the same on the services' servers, for the way back": "4",
        "spilled at once on the monolith's server": f"{5_000_000 * spilled * 4 / 1e9:.1f} GB",
        "disk for WAL on the monolith's server": f"{Sync().retention / 1e9:.0f} GB",
        "time until a stream is given up when nobody applies": f"{Sync().retention / 2e6 / 3600:.1f} h",
        "the copy, if nothing keeps it waiting": f"{20_000_000 / figure('a copy beside its stream'):.0f} s",
        "the comparison": f"{20_000_000 / figure('a comparison'):.0f} s",
        "writes held by a move, p99": f"{200 * figure('the same, p99') / 1000:.0f}",
    }


def test_what_is_said_of_descriptors_is_what_a_worker_does() -> None:
    assert most_clients(2 * 20_000 + 40) == 20_000
    assert most_clients(256) == 108
    assert "108 clients" in FAILURES


def test_the_memory_of_a_worker_is_that_of_the_soak() -> None:
    assert "69.3 MB at the end" in OPERATE
