"""The steps of a tour that move a capability's readers, and what is done with its data beside them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from strangler.capability import WHOLE, Clear, Kill, SetReads, Stack
from strangler.demo.judge import Found, Leg, needed
from strangler.ledger import Publisher
from strangler.project import Project
from strangler.sync.copying import Copying, copy
from strangler.sync.syncing import Asked, complete, leading, remove, settling, start
from strangler.sync.verify import Verdict, Verifying, verdict_of, verify


def toggles(name: str, cohort: str, visitors: int, project: Project, publisher: Publisher) -> Iterator[Leg]:
    """Yield every step of a capability's readers to the service and back."""
    few = fewer(visitors)
    state = publisher.ledger.state(name)
    if state.killed is not None:
        yield Leg(name="cleared", command=Clear(), share=0, visitors=0)
    yield sharing("0 %", 0, visitors, {cohort: None})
    if state.is_streamed:
        yield Leg(name="syncing", work=lambda: sync_anew(name, project), share=0, visitors=few)
    yield sharing("10 %", 1_000, visitors)
    yield sharing("cohort", 1_000, visitors, {cohort: Stack.SERVICE})
    yield sharing("50 %", 5_000, visitors, {cohort: None})
    yield sharing("100 %", WHOLE, visitors)
    yield Leg(name="killed", command=Kill(reason="tour: the kill switch"), share=0, visitors=few)
    yield Leg(name="cleared", command=Clear(), share=0, visitors=few)
    if state.is_streamed:
        yield Leg(name="verify", work=lambda: compare(name, project), share=0, visitors=few)


def fewer(visitors: int) -> int:
    """Return how many visitors a step wants at which no share is measured."""
    return max(100, visitors // 10)


def sharing(name: str, share: int, visitors: int, cohorts: Mapping[str, Stack | None] | None = None) -> Leg:
    """Return the step that sets reads; of a share that is measured more visitors come than a point may be off by."""
    command = SetReads(share=share, cohorts=cohorts or {}, allow_stale=True)
    within = Stack.SERVICE in (cohorts or {}).values()
    leg = Leg(name=name, command=command, share=share, visitors=0, cohort=within)
    return Leg(name=name, command=command, share=share, visitors=needed(leg.variance, visitors), cohort=within)


def sync_anew(name: str, project: Project) -> Found:
    """Begin the streams and the copy anew, while the monolith is read and written, and compare."""
    begun = time.monotonic()
    asked = Asked(capability=name, who="tour", reason="tour: syncing")
    with Publisher.open(project) as publisher:
        remove(asked, project, publisher)
        start(asked, project, publisher, replace=True)
        for _ in copy(Copying(capability=name, who="tour", reason=asked.reason), project, publisher):
            pass
        return _found(verdict_of(complete(asked, project, publisher)), begun)


def compare(name: str, project: Project) -> Found:
    """Compare all rows of both sides while they are written."""
    stream = leading(name, project)
    comparing = Verifying(capability=name, settle=settling(stream), way=stream.way)
    begun = time.monotonic()
    return _found(verdict_of(verify(comparing, project)), begun)


def _found(verdict: Verdict, begun: float) -> Found:
    rows, seconds = sum(table.service_rows for table in verdict.tables), time.monotonic() - begun
    told = "both sides equal" if verdict.equal else "the two sides differ"
    return Found(
        words=f"{rows:,} rows under writes, {told}, {seconds:.1f} s",
        holds=verdict.equal,
        figures={"rows": rows, "seconds": round(seconds, 2), "equal": verdict.equal},
    )
