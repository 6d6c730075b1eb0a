"""``python -m tests.chaos kills``, ``faults`` or ``streams 20`` prints a table of docs/explanation/failures.md.

``moves 200 1`` moves an owner so often, with troubles drawn by that seed, and prints a report as JSON.
"""

from __future__ import annotations

import json
import sys

from tests.chaos import faults, kills, moves, streams
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
    elif sys.argv[1:2] == ["moves"]:
        report = moves.chaos(int(sys.argv[2]), int(sys.argv[3]))
        print(json.dumps(report.to_json(), indent=2))
        sys.exit(not report.holds)
    else:
        print(kills.HEADER)
        for kill in killed():
            print(kill.row, flush=True)
