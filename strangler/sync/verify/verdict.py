"""What a verification found, as values and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import takewhile
from typing import Any

from strangler.project.values import printable
from strangler.sync.mapping import Key
from strangler.sync.verify.looking import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One column of a row that differs, as both sides print it; None is NULL."""

    column: str
    monolith: str | None
    service: str | None

    def shown(self, width: int) -> tuple[str, str]:
        """Return both values in at most ``width`` characters each, cut alike so that the first difference is seen."""
        here, there = _printed(self.monolith), _printed(self.service)
        start = self._start(here, there, width)
        return _cut(here, start, width), _cut(there, start, width)

    def within(self, width: int) -> Cell:
        """Return the cell with values of at most ``width`` characters, cut as they are shown; NULL stays NULL."""
        here, there = self.monolith, self.service
        start = self._start(here or "", there or "", width)
        return replace(
            self,
            monolith=None if here is None else _cut(here, start, width),
            service=None if there is None else _cut(there, start, width),
        )

    def _start(self, here: str, there: str, width: int) -> int:
        if self.monolith is None or self.service is None:
            return 0
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(here, there, strict=False)))
        # A third of the room is for what both have in common before the difference.
        return max(0, min(same - width // 3, max(len(here), len(there)) - width + 1))


def _printed(value: str | None) -> str:
    """Return a value so that it moves no cursor, and that nothing is told apart from NULL."""
    return "NULL" if value is None else printable(value) or "''"


def _cut(text: str, start: int, width: int) -> str:
    shown = "…" + text[start:] if start else text
    return shown if len(shown) <= width else shown[: width - 1] + "…"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A row that is not the same on both sides, with the columns that differ where both have it."""

    key: Mapping[str, str]
    kind: Kind
    cells: tuple[Cell, ...] = ()

    def turned(self) -> Difference:
        """Return the difference with both sides exchanged."""
        cells = tuple(replace(each, monolith=each.service, service=each.monolith) for each in self.cells)
        return replace(self, kind=self.kind.turned(), cells=cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableVerdict:
    """What was found in one table. ``unseen`` ranges differ too; there was too much to look at each row.

    ``keys`` are those of the differing rows, as many as were asked for. ``moving`` of them were written on both sides
    while they were looked at: what is to come of them decides.
    """

    source: str
    target: str
    monolith_rows: int
    service_rows: int
    ranges: int
    splits: int
    missing: int
    extra: int
    differing: int
    in_flight: int
    moving: int
    unseen_ranges: int
    unseen_rows: int
    differences: tuple[Difference, ...]
    seconds: float
    keys: tuple[Key, ...] = ()

    @property
    def found(self) -> int:
        """Rows that were found to differ, in whatever way."""
        return self.missing + self.extra + self.differing

    @property
    def equal(self) -> bool:
        return not self.found and not self.unseen_ranges

    def turned(self) -> TableVerdict:
        """Return the verdict with both sides exchanged: one of the way back, where rows come from the service."""
        return replace(
            self,
            source=self.target,
            target=self.source,
            monolith_rows=self.service_rows,
            service_rows=self.monolith_rows,
            missing=self.extra,
            extra=self.missing,
            differences=tuple(each.turned() for each in self.differences),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was found in all tables of a capability that were compared."""

    capability: str
    tables: tuple[TableVerdict, ...]
    seconds: float

    @property
    def equal(self) -> bool:
        return all(table.equal for table in self.tables)

    @property
    def undecided(self) -> bool:
        """Whether what differs is nothing but rows that were written on both sides while they were looked at."""
        return all(table.found == table.moving and not table.unseen_ranges for table in self.tables)

    @property
    def keys(self) -> dict[str, tuple[Key, ...]]:
        """The keys of differing rows by target table, as many as were asked for."""
        return {table.target: table.keys for table in self.tables if table.keys}


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far one table is: rows compared of about how many, and seconds since it was begun."""

    target: str
    rows: int
    rows_done: int
    seconds: float

    @property
    def remaining_s(self) -> float | None:
        """Seconds that the rest will take at the pace so far; None while nothing tells."""
        if self.rows_done <= 0:
            return None
        return max(0, self.rows - self.rows_done) * self.seconds / self.rows_done


def to_json(verdict: Verdict, width: int) -> dict[str, Any]:
    """Return a verdict as JSON values, those of differing columns in at most ``width`` characters, NULL as null."""
    tables = [_table_json(table, width) for table in verdict.tables]
    return {
        "capability": verdict.capability,
        "equal": verdict.equal,
        "seconds": round(verdict.seconds, 3),
        "tables": tables,
    }


def _table_json(table: TableVerdict, width: int) -> dict[str, Any]:
    values = asdict(replace(table, differences=(), keys=()))
    del values["keys"]
    values["undecided"] = values.pop("moving")
    return {
        **values,
        "differences": [_difference_json(each, width) for each in table.differences],
        "equal": table.equal,
        "seconds": round(table.seconds, 3),
    }


def _difference_json(difference: Difference, width: int) -> dict[str, Any]:
    cut = [(cell, cell.within(width)) for cell in difference.cells]
    cells = [{**asdict(shown), "cut": shown != whole} for whole, shown in cut]
    return {"key": dict(difference.key), "kind": difference.kind, "cells": cells}
