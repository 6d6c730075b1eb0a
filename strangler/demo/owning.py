"""The steps of a tour that move the owner of a capability there and back, while clients write."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from strangler.capability import WHOLE, Clear, Refused, SetReads, Stack
from strangler.cutover import moving
from strangler.cutover.conductor import Moved
from strangler.cutover.gates import passes
from strangler.cutover.protocol import End
from strangler.demo.beside import ask
from strangler.demo.judge import Found, Leg
from strangler.demo.script import Ownership
from strangler.demo.toggling import compare, fewer, sharing, sync_anew
from strangler.ledger import LedgerError, Publisher
from strangler.project import Project
from strangler.sync import observing
from strangler.sync.errors import SyncError
from strangler.sync.syncing import Asked
from strangler.sync.verify import verdict_of

_CANARY: Final = 2_500
_OBSERVED_S: Final = 3_600.0
_SEEN_S: Final = 30.0
_LOOK_S: Final = 0.2
_TRIES: Final = 3
# The visitors keep both stacks busy on the same cores as the conductor, all the time: what takes 0.2 s elsewhere was
# seen to take 2.1 s here. It is less than a proxy lets writes wait, and the report says how long they did.
_PAUSE_S: Final = 8.0
_AGAIN_S: Final = 1.0


def owning(move: Ownership, visitors: int, project: Project, publisher: Publisher) -> Iterator[Leg]:
    """Yield the whole way of a capability: copied, read in part, moved, written there, moved back, and moved again."""
    name, few = move.capability, fewer(visitors)
    to_service, to_monolith = (lambda to=to: _move(name, to, project) for to in (Stack.SERVICE, Stack.MONOLITH))
    state = publisher.ledger.state(name)
    if state.owner is Stack.SERVICE:  # an earlier tour has left it there
        yield Leg(name="home", first=to_monolith, share=0, visitors=few)
    if state.killed is not None:
        yield Leg(name="cleared", command=Clear(), share=0, visitors=0)
    yield Leg(name="0 %", command=SetReads(share=0), share=0, visitors=0)
    yield Leg(name="syncing", work=lambda: sync_anew(name, project), share=0, visitors=few)
    yield Leg(name="verify", work=lambda: compare(name, project), share=0, visitors=few)
    yield replace(sharing("25 %", _CANARY, visitors), first=lambda: _observe(name, project))
    yield Leg(name="who writes", work=lambda: _writers(name, project), share=_CANARY, visitors=few)
    yield Leg(name="dry run", work=lambda: _dry_run(name, project), share=_CANARY, visitors=few)
    yield Leg(name="cutover", first=to_service, share=WHOLE, visitors=few)
    yield Leg(name="written there", work=lambda: _check(move), share=WHOLE, visitors=few)
    yield Leg(name="rollback", first=to_monolith, share=0, visitors=few)
    yield Leg(name="written here", work=lambda: _check(move), share=0, visitors=few)
    yield Leg(name="cutover again", first=to_service, share=WHOLE, visitors=few)
    yield Leg(name="both sides", work=lambda: compare(name, project), share=WHOLE, visitors=few)
    yield Leg(name="all kept", work=lambda: _check(move), share=WHOLE, visitors=few)


def _asked(name: str) -> Asked:
    return Asked(capability=name, who="tour", reason="tour: the owner moves")


def _observe(name: str, project: Project) -> Found:
    """Have told who writes, as ``fence observe`` does."""
    with Publisher.open(project) as publisher:
        stack = observing.begin(_asked(name), _OBSERVED_S, project, publisher)
    return Found(words=f"whoever writes its tables at the {stack} is told of", holds=True, figures={})


def _writers(name: str, project: Project) -> Found:
    """Report who writes, once somebody was seen, and let those from outside meet the fence, which a tour may."""
    until = time.monotonic() + _SEEN_S
    while not (report := observing.reported(name, project)).writers and time.monotonic() < until:
        time.sleep(_LOOK_S)
    outside = [each.writer for each in report.writers if each.place.holds]
    with Publisher.open(project) as publisher:
        for writer in outside:
            observing.allow(_asked(name), writer.kind, writer.name, project, publisher)
    seen = "; ".join(f"{each.writer} {each.place}" for each in report.writers)
    return Found(
        words=f"{report.statements:,} statements: {seen or 'nobody wrote'}; {len(outside)} from outside allowed",
        holds=bool(report.writers),
        figures={"statements": report.statements, "writers": len(report.writers), "allowed": len(outside)},
    )


def _dry_run(name: str, project: Project) -> Found:
    """Measure the gates, as ``cutover --dry-run`` does."""
    with Publisher.open(project) as publisher:
        found = moving.gates(_asked(name), project, publisher, _unheard, verdict_of, unobserved=True)
    failing = [f"{each.gate}: {each.measured}" for each in found if not passes([each])]
    return Found(
        words=f"{len(found)} gates, {'all hold' if not failing else '; '.join(failing)}",
        holds=not failing,
        figures={"gates": {each.gate: str(each.outcome) for each in found}},
    )


def _move(name: str, to: Stack, project: Project) -> Found:
    """Move the owner; where that is held or aborted, as it may be on a machine that has much to do, once more."""
    for _ in range(_TRIES - 1):
        found = _move_once(name, to, project)
        if found.holds:
            return found
        time.sleep(_AGAIN_S)
    return _move_once(name, to, project)


def _move_once(name: str, to: Stack, project: Project) -> Found:
    try:
        with Publisher.open(project) as publisher:
            moved = moving.move(
                _asked(name),
                to,
                project,
                publisher,
                told=lambda step: None,
                measured=lambda found: None,
                tell=_unheard,
                watch=verdict_of,
                pause_s=_PAUSE_S,
                unobserved=True,  # for a day, which a tour does not take
            )
    except (moving.GateFailed, Refused, SyncError, LedgerError) as exc:
        return Found(words=str(exc), holds=False, figures={"why": str(exc)})
    return _told(moved)


def _told(moved: Moved) -> Found:
    pause = moved.pause_ms or 0.0
    steps = ", ".join(f"{each.step} {each.ms:.0f}" for each in moved.steps)
    words = f"the {moved.owner} owns it; writes waited {pause:.0f} ms at most ({steps} ms)"
    good = moved.end is End.MOVED
    return Found(
        words=words if good else f"{moved.end}: {moved.why}",
        holds=good,
        figures={"owner": str(moved.owner), "pause_ms": round(pause, 1), "end": str(moved.end)},
    )


def _check(move: Ownership) -> Found:
    """Ask the example whether what was acknowledged is there, once, and all that follows from it."""
    good, said = ask(move.check)
    try:
        figures: Any = json.loads(said)
    except ValueError:
        figures = None
    if not isinstance(figures, dict):
        return Found(words=said, holds=False, figures={"why": said})
    words = ", ".join(f"{value:,} {key.replace('_', ' ')}" for key, value in figures.items() if isinstance(value, int))
    return Found(words=words, holds=good, figures=figures)


def _unheard(words: str) -> None:
    """Let a warning pass: what matters is in a gate's verdict."""
