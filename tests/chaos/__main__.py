"""``python -m tests.chaos kills``, ``faults`` or ``streams 20`` prints a table of docs/explanation/failures.md."""

from __future__ import annotations

import sys

from tests.chaos import faults, kills, streams
from tests.chaos.family import kills as killed

if __name__ == "__main__":
    if sys.argv[1:] == ["faults"]:
        print(faults.HEADER)
        for fault in faults.faults():
            print(fault.row, flush=True)
    elif sys.argv[1:2] == ["streams"]:
        print(streams.HEADER)
        for result in streams.matrix(int(sys.argv[2])):
            print(result.row, flush=True)
    else:
        print(kills.HEADER)
        for kill in killed():
            print(kill.row, flush=True)
