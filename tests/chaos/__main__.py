"""``python -m tests.chaos`` prints the table that docs/explanation/failures.md has."""

from __future__ import annotations

from tests.chaos.family import kills
from tests.chaos.kills import HEADER

if __name__ == "__main__":
    print(HEADER)
    for each in kills():
        print(each.row, flush=True)
