"""Tells what a run has compared: on the terminal, and as a page. It runs once, whatever runs the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from strangler.regression.record import ATTRIBUTE, Run, Test
from strangler.regression.show import Shown, text


class Telling:
    """Gathers the records that come with the reports of tests."""

    def __init__(self, config: pytest.Config, page: Path | None) -> None:
        self._config = config
        self._page = page
        self._run = Run(stack=config.getoption("--stack"))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        record: dict[str, Any] | None = getattr(report, ATTRIBUTE, None)
        if record is None:
            return
        shown = record["shown"] and Shown.from_json(record["shown"])
        self._run.tests.append(_test(report, record, shown))
        if record["coverage"]:
            self._run.coverages[record["capability"] or report.nodeid] = record["coverage"]
        if shown:
            report.sections.append(("what differs", self._text(shown)))

    def _text(self, shown: Shown) -> str:
        # Here, and not where the test ran, the terminal is known.
        terminal = self._config.get_terminal_writer()
        return text(shown, width=terminal.fullwidth, colour=terminal.hasmarkup)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self._run.coverages and self._page is None:
            return
        terminalreporter.section("regression")
        for name, coverage in self._run.coverages.items():
            terminalreporter.line(f"{name}: {_counted(coverage['counts'])}")
        if self._page is not None:
            terminalreporter.line(f"{self._run.compared} comparisons are told in {self._page}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        if self._page is not None:
            from strangler.regression.report import page

            self._page.parent.mkdir(parents=True, exist_ok=True)
            self._page.write_text(page(self._run), encoding="utf-8")


def _test(report: pytest.TestReport, record: dict[str, Any], shown: Shown | None) -> Test:
    return Test(
        name=report.nodeid,
        capability=record["capability"] or "",
        outcome=report.outcome,
        seconds=report.duration,
        compared=record["compared"],
        why="" if report.passed else report.longreprtext.strip().rpartition("\n")[2],
        shown=shown,
    )


def _counted(counts: dict[str, list[int]]) -> str:
    seen, there = (sum(pair[place] for pair in counts.values()) for place in (0, 1))
    parts = ", ".join(f"{kind} {pair[0]}/{pair[1]}" for kind, pair in counts.items())
    return f"{seen / there:.1%} covered ({parts})" if there else "nothing to cover"
