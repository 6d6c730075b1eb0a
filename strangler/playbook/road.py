"""The whole road of a capability, and how far it is. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from strangler.capability import WHOLE, Stack, Stage, State
from strangler.cutover.gates import lacking
from strangler.ledger import Entry
from strangler.playbook.facts import Facts, Recorded, is_bare
from strangler.playbook.telling import clock, line, percent
from strangler.sync.writers import Report


class Mark(StrEnum):
    DONE = "done"
    BEGUN = "under way"
    NEXT = "next"
    LATER = "later"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """A stretch of the road: what is done when it is passed, and who did so when, where the ledger tells."""

    title: str
    mark: Mark
    says: str = ""


Way = Iterator[tuple[str, Mark | None, str]]


def road(facts: Facts) -> tuple[Stop, ...]:
    """Return every stop of the road, in its order; the first that is neither passed nor under way is the next one."""
    stops = [*_stops(facts)]
    if not isinstance(facts.ledger, Recorded):
        return tuple(Stop(title=title, mark=Mark.UNKNOWN) for title, _, _ in stops)
    following = next((place for place, (_, mark, _) in enumerate(stops) if mark is None), len(stops))
    return tuple(
        Stop(title=title, mark=mark or (Mark.NEXT if place == following else Mark.LATER), says=says)
        for place, (title, mark, says) in enumerate(stops)
    )


def _done(done: bool) -> Mark | None:
    return Mark.DONE if done else None


def _stops(facts: Facts) -> Way:
    state = facts.state or State()
    entries = facts.ledger.entries if isinstance(facts.ledger, Recorded) else ()
    yield "Its files are in force", _done(facts.state is not None), _by(entries, "enrol")
    if facts.born is Stack.SERVICE:
        owned = state.owner is Stack.SERVICE
        yield "Its service owns the data and answers everybody: it was born there", _done(owned), ""
    elif not facts.has_tables and (facts.state is None or is_bare(state)):
        yield from _bare(state, entries)
    else:
        yield from _copied(state, entries)
        yield from _read(facts, state, entries)
        yield from _given_up(facts, state, entries)


def _bare(state: State, entries: Sequence[Entry]) -> Way:
    yield "It has no tables: nothing is copied, and its writes stay with the monolith", Mark.DONE, ""
    yield "Its service answers every reader (stage canary)", _done(state.share == WHOLE), _readers(state, entries)


def _copied(state: State, entries: Sequence[Entry]) -> Way:
    streamed = state.is_streamed or state.owner is Stack.SERVICE
    equal = streamed and state.stage is not Stage.SYNCING
    yield "Streams keep what is written (stage syncing)", _done(streamed), _by(entries, "sync-start", said=streamed)
    yield "Rows copied, both sides equal (stage shadow)", _done(equal), _by(entries, "sync-complete", said=equal)


def _read(facts: Facts, state: State, entries: Sequence[Entry]) -> Way:
    over = state.owner is Stack.SERVICE
    yield "Who writes its tables was seen, for a day at least", _done(over) or _observed(facts), _watched(facts)
    read = over or state.share == WHOLE
    yield "Its service answers every reader (stage canary)", _done(read), _readers(state, entries)
    owned = over and state.moving is None
    yield "The service owns the data (stage service)", _done(owned), _by(entries, "move-complete", said=owned)


def _given_up(facts: Facts, state: State, entries: Sequence[Entry]) -> Way:
    retired, proposed = state.stage is Stage.RETIRED, _proposed(facts)
    yield "To give up the way back is proposed by one person", _done(retired or bool(proposed)), proposed
    yield "and confirmed by another (stage retired)", _done(retired), _retired(entries) if retired else ""
    ended = retired and not state.is_streamed
    yield "Nothing is streamed any more", _done(ended), _by(entries, "sync-remove", said=ended)
    yield "The monolith's tables dropped and its code taken out, by hand", None, "nothing here can tell"


def _observed(facts: Facts) -> Mark | None:
    if not isinstance(facts.writers, Report) or facts.writers.observation is None:
        return None
    if not lacking(facts.writers):
        return Mark.DONE
    return Mark.BEGUN if facts.writers.observation.ended_at is None else None


def _watched(facts: Facts) -> str:
    if not isinstance(facts.writers, Report) or facts.writers.observation is None:
        return ""
    found = facts.writers.observation
    end = f"until {clock(found.ended_at or found.until)}"
    holding = f"; {len(facts.writers.holding)} from outside are to be dealt with" if facts.writers.holding else ""
    return f"{line(found.who)}, from {clock(found.began_at)} {end}: {line(found.reason)}{holding}"


def _readers(state: State, entries: Sequence[Entry]) -> str:
    if state.owner is Stack.SERVICE:
        return ""
    return f"{percent(state.share)} now" + (f"; {_by(entries, 'set')}" if state.share else "")


def _proposed(facts: Facts) -> str:
    found = facts.ledger.proposal if isinstance(facts.ledger, Recorded) else None
    if found is None or facts.state is None:
        return ""
    if found.left_s <= 0 or found.epoch != facts.state.epoch:
        return ""
    return f"{line(found.who)}, {clock(found.at)}, until {clock(found.expires_at)}: {line(found.reason)}"


def _retired(entries: Sequence[Entry]) -> str:
    found = next((each for each in entries if each.command == "retire"), None)
    if found is None:
        return ""
    by = line(str(found.evidence.get("proposed_by", "somebody")))
    return f"{line(found.who)}, {clock(found.at)}; {by} had proposed it"


def _by(entries: Sequence[Entry], command: str, *, said: bool = True) -> str:
    """Return who did it last, and when."""
    if not said:
        return ""
    found = next((each for each in entries if each.command == command), None)
    return "" if found is None else f"{line(found.who)}, {clock(found.at)}: {line(found.reason)}"
