"""The sync in a process of its own: ``backfill FILE`` or ``verify FILE``; what it took is on standard output.

The seconds are those of the use case, without the start of the interpreter. Whose code it is says ``PYTHONPATH``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from strangler.ledger import Publisher
from strangler.project import Project, load
from strangler.sync import applying, copying
from strangler.sync.verify import Verifying, verify

CAPABILITY: Final = "orders"
Told = dict[str, Any]


def _code(_: Project) -> Told:
    return {"applying": applying.__file__}


def _backfill(project: Project) -> Told:
    """Copy, as ``sync backfill --inline`` does: with its stream where that was begun, else anew."""
    with Publisher.open(project) as publisher:
        streamed = publisher.ledger.state(CAPABILITY).is_streamed
        asked = copying.Copying(capability=CAPABILITY, who="bench", reason="bench", replace=not streamed, submit=None)
        began = time.perf_counter()
        rows = 0
        for progress in copying.copy(asked, project, publisher):
            rows = progress.rows_done
        return {"seconds": time.perf_counter() - began, "rows": rows}


def _verify(project: Project) -> Told:
    began = time.perf_counter()
    running = verify(Verifying(capability=CAPABILITY), project)
    while True:
        try:
            next(running)
        except StopIteration as ended:
            verdict = ended.value
            break
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "equal": verdict.equal, "rows": sum(each.service_rows for each in verdict.tables)}


_VERBS: Final[Mapping[str, Callable[[Project], Told]]] = {"code": _code, "backfill": _backfill, "verify": _verify}


if __name__ == "__main__":
    print(json.dumps(_VERBS[sys.argv[1]](load(Path(sys.argv[2])))))
