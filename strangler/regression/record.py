"""What a test run has compared: noted where a test runs, gathered where the run is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from strangler.regression import coverage
from strangler.regression.coverage import Coverage
from strangler.regression.pair import Comparison
from strangler.regression.show import Shown

ATTRIBUTE: Final = "strangler"
"""The attribute of a test's report that carries its record from where it ran, possibly another process."""


@dataclass(slots=True, kw_only=True)
class Record:
    """What one test has compared."""

    capability: str | None = None
    compared: int = 0
    coverage: Coverage | None = None
    shown: Shown | None = None

    def note(self, _: Comparison) -> None:
        self.compared += 1

    @property
    def properties(self) -> list[tuple[str, str]]:
        """What JUnit's file tells of the test."""
        found = [("capability", self.capability or ""), ("compared", str(self.compared) if self.compared else "")]
        if self.shown is not None:
            found += [("request", self.shown.title), ("differences", "\n".join(self.shown.lines))]
        if self.coverage is not None:
            found += [("coverage", str(self.coverage).partition("\n")[0])]
        return [(name, value) for name, value in found if value]

    def to_json(self) -> dict[str, Any]:
        return {
            "capability": self.capability,
            "compared": self.compared,
            "coverage": self.coverage and coverage.to_json(self.coverage),
            "shown": self.shown and self.shown.to_json(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """What became of one test."""

    name: str
    capability: str
    outcome: str
    seconds: float
    compared: int
    why: str = ""
    shown: Shown | None = None


@dataclass(slots=True, kw_only=True)
class Run:
    """Everything that a run has compared so far."""

    stack: str = ""
    tests: list[Test] = field(default_factory=list)
    coverages: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def compared(self) -> int:
        return sum(each.compared for each in self.tests)

    def count(self, outcome: str) -> int:
        return sum(each.outcome == outcome for each in self.tests)
