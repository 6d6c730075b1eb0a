"""The unit files in the how-to are ones that systemd takes."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest

from strangler.project.limits import Timeouts
from strangler_proxy.doors import most_clients

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to"


def units() -> Iterator[tuple[str, str]]:
    """Yield each unit that a page shows, with its name, which stands in the sentence before it."""
    for page in ("operate", "without-containers"):
        text = (HOW_TO / f"{page}.md").read_text()
        before, *shown = re.split(r"^```ini\n", text, flags=re.MULTILINE)
        for part in shown:
            *_, name = re.findall(r"`/etc/systemd/system/([\w.-]+)`", before)
            unit, _, before = part.partition("\n```\n")
            yield name, f"{unit}\n"


def parsed(text: str) -> ConfigParser:
    found = ConfigParser(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read_string(text)
    return found


def test_the_units_of_every_process_are_there() -> None:
    assert [name for name, _ in units()] == [
        "strangler-proxy.service",
        "strangler-proxy.socket",
        "strangler-sync.service",
        "strangler-jobs.service",
        "polls.service",
    ]


def test_what_they_start_are_commands_of_the_toolkit() -> None:
    shown = dict(units())
    assert parsed(shown["strangler-sync.service"])["Service"]["ExecStart"].endswith(" sync run")
    assert " --app strangler.jobs:celery_app worker " in parsed(shown["strangler-jobs.service"])["Service"]["ExecStart"]


def test_the_service_says_what_the_proxy_needs() -> None:
    service = parsed(dict(units())["strangler-proxy.service"])["Service"]
    assert (service["Type"], service["NotifyAccess"], service["KillMode"]) == ("notify-reload", "main", "mixed")
    assert service["ExecStart"].endswith(" proxy")
    assert service["ExecStartPre"] == f"{service['ExecStart']} --check"
    assert float(service["TimeoutStopSec"]) > Timeouts().drain + 5
    assert float(service["WatchdogSec"]) > 30  # the supervisor ends a worker that hangs after 30 s
    assert most_clients(int(service["LimitNOFILE"])) > 30_000


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    for name, text in units():
        (tmp_path / name).write_text(re.sub(r"=/opt/\S+/bin/\S+", "=/bin/true", text))
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for name, _ in units())],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    ours = [line for line in found.stderr.splitlines() if "strangler" in line or "polls" in line]
    # Type=notify-reload is systemd 253's; the page says what to write before it.
    assert [line for line in ours if "notify-reload" not in line] == []
