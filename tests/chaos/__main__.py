"""``python -m tests.chaos kills`` or ``faults`` prints a table that docs/explanation/failures.md has."""

from __future__ import annotations

import sys

from tests.chaos import faults, kills
from tests.chaos.family import kills as killed

if __name__ == "__main__":
    if sys.argv[1:] == ["faults"]:
        print(faults.HEADER)
        for fault in faults.faults():
            print(fault.row, flush=True)
    else:
        print(kills.HEADER)
        for kill in killed():
            print(kill.row, flush=True)
