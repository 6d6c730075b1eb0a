"""The oracle's process: asks both databases by SQL, and holds them against the file of acknowledgements.

``python -m tests.chaos.cutover.judging``, with the file, the databases and how often the owner moved as a line of
JSON on standard input; it prints what it found as JSON.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg

from tests.chaos.cutover import log, oracle
from tests.chaos.cutover.oracle import Findings, Line, Purchase, Side
from tests.chaos.cutover.tables import REPEATED, TABLES


def side(name: str, url: str, *, noted: bool) -> Side:
    """Return what one database holds."""
    tables = TABLES[name]
    with psycopg.connect(url, autocommit=True) as connection:
        purchases = [
            Purchase(number=number, ref=ref, value=value, lines=tuple(Line(position=at, value=of) for at, of in lines))
            for number, ref, value, lines in connection.execute(tables.purchases.encode())
        ]
        repeated = (
            [f"{what} {number} of {value}" for what, number, value in connection.execute(REPEATED)] if noted else []
        )
        return Side(
            purchases=purchases,
            accounts=dict(connection.execute(tables.accounts.encode()).fetchall()),
            repeated=repeated,
        )


def commits(name: str, url: str) -> list[tuple[float, str]]:
    """Return when those who own a side have committed there, as its server recorded it."""
    with psycopg.connect(url, autocommit=True) as connection:
        return [(at, name) for (at,) in connection.execute(TABLES[name].commits.encode()) if at is not None]


def judge(path: Path, urls: dict[str, str], *, moves: int, noted: bool) -> tuple[Findings, dict[str, Any]]:
    """Return what is wrong, and what was counted."""
    words = oracle.said(log.read(path))
    found = oracle.judge(words, {name: side(name, url, noted=noted) for name, url in urls.items()})
    written = [each for name, url in urls.items() for each in commits(name, url)]
    found.overlapping += oracle.overlapping(written, moves)
    counted = Counter(line["what"] for line in log.read(path))
    return found, {
        "acknowledged_writes": words.acknowledgements,
        "commits": dict(Counter(name for _, name in written)),
        "said": dict(counted),
    }


if __name__ == "__main__":
    asked = json.loads(sys.stdin.readline())
    findings, numbers = judge(Path(asked["log"]), asked["urls"], moves=asked["moves"], noted=asked["noted"])
    print(json.dumps({"findings": asdict(findings), **numbers}))
