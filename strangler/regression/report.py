"""A run as one page of HTML that needs nothing else: no script, no font, no server."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader

from strangler.regression.record import Run
from strangler.regression.show import marked


def page(run: Run) -> str:
    """Return the page."""
    environment = Environment(
        loader=PackageLoader("strangler.regression", ""), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html").render(
        run=run, failed=[each for each in run.tests if each.outcome == "failed"], percent=percent, marked=marked
    )


def percent(counts: dict[str, Any]) -> str:
    """Return how much of all kinds is seen."""
    seen, there = (sum(pair[place] for pair in counts.values()) for place in (0, 1))
    return f"{seen / there:.1%}" if there else "0 of 0"
