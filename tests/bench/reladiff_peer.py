"""Two tables compared by reladiff, run by the interpreter that has it: ``TABLE KEY COLUMN...``.

The databases come by the environment, as SOURCE_URL and TARGET_URL. Prints the seconds from the first connection to
the verdict, and how many rows differ.
"""

from __future__ import annotations

import json
import os
import sys
import time

# Of each of the two databases. Its documentation advises more than one for speed.
_THREADS = 2


def main(table: str, key: str, columns: tuple[str, ...]) -> None:
    from reladiff import connect_to_table, diff_tables

    began = time.perf_counter()
    tables = [
        connect_to_table(os.environ[side], table, key, thread_count=_THREADS, extra_columns=columns)
        for side in ("SOURCE_URL", "TARGET_URL")
    ]
    different = sum(1 for _ in diff_tables(*tables, threaded=True, max_threadpool_size=_THREADS))
    print(json.dumps({"seconds": time.perf_counter() - began, "different": different}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], tuple(sys.argv[3:]))
