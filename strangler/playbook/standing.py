"""Where a capability stands: what is true now, a line each. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from strangler.capability import Data, Phase, Stage, State
from strangler.cutover.gates import proxies
from strangler.ledger import Entry
from strangler.playbook.facts import Facts, Recorded
from strangler.playbook.telling import clock, line, percent
from strangler.sync.status import Status, Sync
from strangler.sync.telling import duration, size
from strangler.sync.verdicts import Kept

Row = tuple[str, str]


def standing(facts: Facts) -> tuple[Row, ...]:
    """Return what is known of where it stands, as pairs of what and how."""
    return tuple(_rows(facts))


def _rows(facts: Facts) -> Iterator[Row]:
    state = facts.state
    if state is not None and isinstance(facts.ledger, Recorded):
        yield from _stated(state, facts.ledger.entries)
    yield "service", facts.service
    if isinstance(facts.sync, Sync):
        yield from _streamed(facts.sync, state)
    if isinstance(facts.ledger, Recorded) and facts.ledger.version:
        yield "proxies", proxies(facts.ledger.workers, facts.ledger.version).measured


def _stated(state: State, entries: Sequence[Entry]) -> Iterator[Row]:
    yield "stage", f"{state.stage}{_since(entries)}"
    yield "owner", f"the {state.owner}, which alone may write"
    cohorts = ", ".join(f"{name} to the {stack}" for name, stack in state.cohorts.items())
    yield "reads", f"{percent(state.share)} with the service{f'; cohorts: {cohorts}' if cohorts else ''}"
    if state.killed is not None:
        yield "killed", f"{line(state.killed)}; latched until that is cleared"
    if state.read_only is not None:
        yield "writes", f"refused: {line(state.read_only)}"
    yield "copy", _data(state)
    yield from _moved(state)
    yield "epoch", str(state.epoch)


def _since(entries: Sequence[Entry]) -> str:
    """Return since when the stage is what it is, and who had it so."""
    for each in entries:
        if each.after is not None and (each.before is None or each.before.stage is not each.after.stage):
            return f", since {clock(each.at)} ({line(each.who)}: {line(each.reason)})"
    return ""


def _data(state: State) -> str:
    other = state.owner.other
    if state.data is Data.SNAPSHOT and state.data_at is not None:
        return f"the {other} has a snapshot of {clock(state.data_at)}, older by the minute"
    said = {
        Data.NONE: "it has no tables, as published",
        Data.ABSENT: f"the {other} has none",
        Data.STREAMED: f"streamed to the {other}",
    }
    return said.get(state.data, str(state.data))


def _moved(state: State) -> Iterator[Row]:
    move = state.move
    if move is None:
        return
    if move.phase is Phase.BARRING:
        yield "unfenced", f"the service's database, since the rollback that was forced (epoch {move.epoch})"
    elif state.moving is not None:
        yield "move", f"under way from the {move.source}, {move.phase} (epoch {move.epoch})"
    else:
        yield "last move", f"from the {move.source} to the {move.source.other}: {move.phase} (epoch {move.epoch})"


def _streamed(sync: Sync, state: State | None) -> Iterator[Row]:
    yield "stream to the service", _stream(sync.forward)
    yield "stream to the monolith", _stream(sync.back)
    if sync.copy is not None:
        yield "copying", f"{sync.copy.rows_done:,} of {sync.copy.rows:,} rows"
    for title, kept in (("last verify", sync.verified.whole), ("and in part", sync.verified.part)):
        if kept is not None:
            yield title, _verified(kept)
    if sync.verified.whole is None and state is not None and state.is_streamed:
        yield "last verify", "never, or not known"
    for stack, claim in sync.fences.items():
        observing = ", and tells who writes" if claim.observing else ""
        yield f"fence of the {stack}", f"{'raised' if claim.raised else 'lowered'}{observing} (epoch {claim.epoch})"


def _stream(found: Status) -> str:
    if found.problem is not None:
        return f"does not go on: {line(found.problem)}"
    if not found.begun:
        return "not begun"
    lag = "no heartbeat has come yet" if found.lag_s is None else f"{max(0.0, found.lag_s):.1f} s"
    behind = lag if found.lag_bytes is None else f"{lag} and {size(found.lag_bytes)} behind"
    kept = "" if found.kept_bytes is None else f"; {size(found.kept_bytes)} of WAL kept for it"
    applied = "" if found.running else "nobody applies it, "
    return f"{applied}{behind}{kept}"


def _verified(kept: Kept) -> str:
    found = "equal" if kept.equal else f"different in {kept.differing:,}"
    part = f" ({kept.part})" if kept.part else ""
    return f"{clock(kept.at)}, {duration(kept.age_s)} ago: {found}, {kept.rows:,} rows{part}"


def warnings(facts: Facts) -> tuple[str, ...]:
    """Return what is out of the ordinary now besides what the next step tells."""
    return tuple(_warnings(facts))


def _warnings(facts: Facts) -> Iterator[str]:
    if isinstance(facts.ledger, Recorded) and not facts.ledger.same_files and facts.state is not None:
        yield "the files here are not what is published"
    if facts.state is not None and facts.state.killed is not None and facts.state.stage is not Stage.RETIRED:
        yield f"reads are latched at the {facts.state.owner}: {line(facts.state.killed)}"
    for each in facts.streams:
        for reaction in each.reactions:
            if reaction.waiting:
                trouble = "" if reaction.trouble is None else f", and fails: {line(reaction.trouble)}"
                yield f"{reaction.waiting:,} changes wait for the reaction {reaction.name}{trouble}"
        for holder in each.held.by if each.held is not None else ():
            yield f"a server keeps WAL for {line(holder.session)}"
