"""The road: copied, read, owned, retired. No I/O."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from strangler.capability import (
    WHOLE,
    Command,
    Data,
    Refused,
    Retire,
    SetReads,
    Stack,
    Stage,
    StartMove,
    StartSync,
    State,
    StopSync,
    transit,
)
from strangler.cutover.conductor import PAUSE_S
from strangler.cutover.gates import WRITERS, Outcome, Verdict, lacking, passes, proxies
from strangler.playbook.facts import Facts, Measured, Recorded, Unseen, is_bare, is_read_there, stands_alone
from strangler.playbook.step import Key, Measure, Other, Step
from strangler.playbook.telling import percent
from strangler.playbook.typed import Typed, typed
from strangler.sync.status import FRESH_S, Sync
from strangler.sync.telling import duration
from strangler.sync.writers import Report

RUNGS: Final = (100, 1_000, 5_000, WHOLE)
"""Shares in basis points. One in a hundred meets what is wrong at all, one in ten what is slow; half shows the load."""
_WEEK: Final = "7d"
_COHORTS: Final = 3


def going_on(facts: Facts, state: State) -> Step:
    """Return the next step of a capability of which nothing is to be mended."""
    if state.stage is Stage.RETIRED:
        return _retired(facts, state)
    if stands_alone(state):
        return _end(facts, "Its service owns the data and answers every request; nothing of it is with the monolith.")
    if state.stage is Stage.SERVICE:
        return _owned(facts, state)
    if state.stage is Stage.SYNCING:
        return _copy(facts)
    if state.data in (Data.ABSENT, Data.SNAPSHOT):
        return _begin(facts, state)
    return _begun(facts, state)


# --- the copy ---


def _begin(facts: Facts, state: State) -> Step:
    if is_read_there(state):
        return _set(
            facts,
            state,
            0,
            title="Take the readers off the snapshot",
            does="They read a copy that gets older by the minute; a stream is begun without readers.",
            off=True,
        )
    found = facts.measured if isinstance(facts.measured, Measured) else None
    if found is not None and not passes(found.verdicts):
        return Step(
            key=Key.START,
            title="Mend what stands in the way of the streams",
            does="The command names it, and prints the SQL that mends it, for each database.",
            typed=typed("sync", "check", facts.name),
            gates=found.verdicts,
            measure=Measure.START,
        )
    if isinstance(facts.measured, Unseen):
        return _unmeasured(facts, Measure.START, typed("sync", "check", facts.name))
    anew = ("--replace",) if found is not None and found.filled else ()
    notes = ["--replace empties the service's tables first: whoever needs the rows that are there saves them before."]
    if state.move is not None and state.move.source is Stack.SERVICE:
        notes.append(
            f"What the service wrote and the monolith lacks since the rollback stands there alone: strangler history"
            f" {facts.name} --json (move-lost) has the keys."
        )
    return Step(
        key=Key.START,
        title="Begin the streams",
        does="From now on every change of its tables is kept until it is applied on the other side, both ways; the"
        " service's tables refuse everybody but the sync. Reads and writes stay where they are.",
        typed=typed("sync", "start", facts.name, *anew, reason="its tables are mapped"),
        asks=(StartSync(),),
        gates=() if found is None else found.verdicts,
        notes=tuple(notes) if anew else (),
        others=(Other(when="To see all that is known about both databases", typed=typed("sync", "check", facts.name)),),
        measure=Measure.START,
    )


def _copy(facts: Facts) -> Step:
    copy = facts.sync.copy if isinstance(facts.sync, Sync) else None
    so_far = "" if copy is None else f" {copy.rows_done:,} of {copy.rows:,} rows are there: it goes on where it was."
    return Step(
        key=Key.COPY,
        title="Copy the rows, and compare both sides",
        does=f"The monolith goes on writing. Equal, it is in stage shadow, and may be read.{so_far}",
        typed=typed("sync", "backfill", facts.name, "--inline"),
        others=(
            Other(
                when="Where Celery's workers run (strangler up), they copy, several chunks at a time",
                typed=typed("sync", "backfill", facts.name),
            ),
            Other(
                when="Where the monolith is busy, the copy gives way",
                typed=typed("sync", "backfill", facts.name, "--inline", "--max-source-load", "8", "--max-lag", "30"),
            ),
        ),
    )


# --- readers, and who writes ---


def _begun(facts: Facts, state: State) -> Step:
    if not is_bare(state) and isinstance(facts.writers, Report) and facts.writers.observation is None:
        return _observe(
            facts, "Nobody has looked at who writes these tables. It takes a week to see what runs once a week"
        )
    if state.share < WHOLE:
        return _rung(facts, state)
    if is_bare(state):
        return _end(
            facts,
            "Its service answers every read. It has no tables: no rows are copied and no owner moves, and its writes go"
            " to the monolith.",
        )
    return _cutover(facts)


def _observe(facts: Facts, why: str) -> Step:
    return Step(
        key=Key.OBSERVE,
        title="See who writes its tables",
        does=f"{why}; every statement passes meanwhile, and readers can go over.",
        typed=typed("fence", "observe", facts.name, "--for", _WEEK),
    )


def _rung(facts: Facts, state: State) -> Step:
    share = next(each for each in RUNGS if each > state.share)
    step = _set(
        facts,
        state,
        share,
        title=f"Have its service answer {percent(share)} of the readers",
        does="A visitor keeps its stack across requests and logins; whoever is with the service stays there. Writes go"
        " to the owner. Look at errors and latencies of both stacks for a while: strangler top.",
    )
    waiting = [name for name in facts.cohorts if name not in state.cohorts]
    return replace(step, others=tuple(_cohort(facts, name) for name in waiting[:_COHORTS]))


def _cohort(facts: Facts, name: str) -> Other:
    said = typed("set", facts.name, "--cohort", f"{name}=service", reason=f"the cohort {name} first")
    return Other(when=f"Or the readers of the cohort {name} first, whatever the share", typed=said)


def _set(facts: Facts, state: State, share: int, *, title: str, does: str, off: bool = False) -> Step:
    cohorts = tuple(state.cohorts) if off else ()
    words = [word for name in cohorts for word in ("--cohort", f"{name}=off")]
    asked = SetReads(share=share, cohorts=dict.fromkeys(cohorts))
    why = f"{percent(share)} of the readers" if share else "back to the owner"
    return Step(
        key=Key.READS,
        title=title,
        does=does,
        typed=typed("set", facts.name, "--reads", f"{share / 100:g}%", *words, reason=why),
        asks=(asked,),
        gates=_reading(facts, state, asked),
    )


def _reading(facts: Facts, state: State, asked: Command) -> tuple[Verdict, ...]:
    """Return what ``set`` looks at: the transition, the stream to the copy, and the proxies that are to route by it."""
    shown = f"stage {state.stage}, {percent(state.share)} of the reads, epoch {state.epoch}"
    try:
        transit(state, asked)
        found = [Verdict(gate="state", outcome=Outcome.PASS, measured=shown)]
    except Refused as exc:
        found = [Verdict(gate="state", outcome=Outcome.FAIL, measured=shown, cure=str(exc))]
    if state.data is Data.STREAMED and facts.streams:
        found.append(_follows(facts, state))
    if isinstance(facts.ledger, Recorded):
        found.append(proxies(facts.ledger.workers, facts.ledger.version))
    return tuple(found)


def _follows(facts: Facts, state: State) -> Verdict:
    stream = facts.streams[0 if state.owner is Stack.MONOLITH else 1]
    age = "no heartbeat has come yet" if stream.lag_s is None else f"{max(0.0, stream.lag_s):.1f} s behind"
    wanted = "" if stream.follows else f"readers are sent to a copy only while it is at most {FRESH_S:g} s behind"
    return Verdict(gate="stream", outcome=Outcome.PASS if stream.follows else Outcome.FAIL, measured=age, cure=wanted)


# --- the owner ---


def _unmeasured(facts: Facts, measure: Measure, look: Typed) -> Step:
    """Return the command that looks again, where the gates of a step could not be looked at."""
    why = facts.measured.why if isinstance(facts.measured, Unseen) else ""
    return Step(
        key=Key.LOOK,
        title="Measure the gates of the next step",
        does=f"They could not be measured: {why}. This measures them, and changes nothing.",
        typed=look,
        measure=measure,
    )


def _cutover(facts: Facts) -> Step:
    if isinstance(facts.measured, Unseen):
        return _unmeasured(facts, Measure.CUTOVER, _rehearsal(facts))
    found = facts.measured if isinstance(facts.measured, Measured) else None
    gates = () if found is None else found.verdicts
    failing = [each for each in gates if not passes([each])]
    # Where too little is known of the rows, and they were not found to differ, a cutover compares all of them itself.
    holding = [each for each in failing if each.gate != "verify" or (found is not None and found.differs)]
    if holding:
        return _held(facts, holding[0], gates)
    notes = ["Writes wait meanwhile, reads do not; what is not done within the pause is taken back by itself."]
    if failing:
        notes.append("It compares all rows first, since too little is known of them.")
    return Step(
        key=Key.CUTOVER,
        title="Make the service the owner",
        does=f"From then on it alone may write, and its writes are streamed to the monolith; they wait for"
        f" {PAUSE_S:g} s at most. Nothing is lost, and it comes back the same way.",
        typed=typed("cutover", facts.name, reason="its service has answered every reader well"),
        asks=(StartMove(),),
        gates=gates,
        notes=tuple(notes),
        others=(Other(when="To measure all gates once more, and move nothing", typed=_rehearsal(facts)),),
        measure=Measure.CUTOVER,
    )


def _rehearsal(facts: Facts) -> Typed:
    return typed("cutover", facts.name, "--dry-run", reason="rehearsal")


def _held(facts: Facts, gate: Verdict, gates: tuple[Verdict, ...]) -> Step:
    """Return what is done about the first gate that keeps the owner where it is."""
    if gate.gate == WRITERS and isinstance(facts.writers, Report) and _is_blind(facts.writers):
        step = _observe(facts, f"The owner moves when {duration(86_400)} of that are seen: {lacking(facts.writers)}")
    elif gate.gate == WRITERS and isinstance(facts.writers, Report) and not facts.writers.holding:
        step = Step(
            key=Key.OBSERVE,
            title="Wait until it was seen for a day who writes its tables",
            does=f"So far: {gate.measured}. A week shows what runs once a week. Whoever was seen until now:",
            typed=typed("fence", "report", facts.name),
        )
    else:
        step = Step(
            key=Key.CUTOVER,
            title=f"Have the gate “{gate.gate}” hold",
            does=f"The owner stays where it is: {gate.measured}." + (f" The way on: {gate.cure}." if gate.cure else ""),
            typed=_mend(facts, gate),
        )
    look = Other(when="To measure all gates once more, and move nothing", typed=_rehearsal(facts))
    return replace(step, gates=gates, others=(look,), measure=Measure.CUTOVER)


def _is_blind(found: Report) -> bool:
    """Return whether nobody looks at writers, and too little was seen."""
    return (
        bool(lacking(found))
        and not found.holding
        and (found.observation is None or found.observation.ended_at is not None)
    )


def _mend(facts: Facts, gate: Verdict) -> Typed:
    name = facts.name
    if gate.gate in (WRITERS,):
        return typed("fence", "report", name)
    if gate.gate == "fence" and "fence raise" in gate.cure:
        return typed("fence", "raise", name, reason="somebody may have passed it")
    if gate.gate in ("fence", "ledger"):
        return typed("fence", "status", name)
    if gate.gate in ("stream", "way back"):
        return typed("sync", "status", name)
    if gate.gate == "verify":
        return typed("sync", "verify", name)
    return typed("status") if gate.gate == "proxies" else _rehearsal(facts)


# --- the way back given up ---


def _owned(facts: Facts, state: State) -> Step:
    if state.reads_leave_owner:
        return _set(
            facts,
            state,
            WHOLE,
            title="Have the service answer every reader",
            does="Some readers are with the monolith, which follows. To retire it, none may be.",
            off=True,
        )
    if isinstance(facts.measured, Unseen):
        return _unmeasured(facts, Measure.RETIRE, typed("sync", "status", facts.name))
    gates = facts.measured.verdicts if facts.measured is not None else ()
    if not passes(gates):
        return _not_yet(facts, gates)
    return _confirm(facts, state, gates) or Step(
        key=Key.RETIRE,
        title="Live with it; when nobody wants to go back any more, propose to retire the monolith's side",
        does="The way back is open as long as you like. To give it up takes two people: this proposes it, and another"
        " one confirms within a week.",
        typed=typed("retire", facts.name, reason="nobody wants to go back any more"),
        asks=(Retire(keep_copy=False),),
        gates=gates,
        others=(
            Other(
                when="Code of the monolith still reads or joins its tables: they go on to follow",
                typed=typed("retire", facts.name, "--keep-copy", reason="nobody wants to go back any more"),
            ),
        ),
        measure=Measure.RETIRE,
    )


def _not_yet(facts: Facts, gates: tuple[Verdict, ...]) -> Step:
    verified = facts.sync.verified.whole if isinstance(facts.sync, Sync) else None
    again = verified is None or not verified.equal
    return Step(
        key=Key.RETIRE,
        title="Live with it; to retire the monolith's side, its gate has to hold",
        does=f"{gates[0].measured}. The way back is open as long as you like.",
        typed=typed("sync", "verify", facts.name) if again else typed("fence", "status", facts.name),
        gates=gates,
        measure=Measure.RETIRE,
    )


def _confirm(facts: Facts, state: State, gates: tuple[Verdict, ...]) -> Step | None:
    proposed = facts.ledger.proposal if isinstance(facts.ledger, Recorded) else None
    if proposed is None or proposed.left_s <= 0 or proposed.epoch != state.epoch:
        return None
    copy = ", and the monolith's tables go on to follow" if proposed.asked.get("keep_copy") else ""
    mine = f" You are {facts.who}, and cannot." if proposed.who == facts.who else ""
    return Step(
        key=Key.RETIRE,
        title="Have another person confirm that the way back is given up",
        does=f"{proposed.who} has proposed it ({proposed.reason}); anybody else confirms within"
        f" {duration(proposed.left_s)}.{mine} From then on there is no way back{copy}.",
        typed=typed("retire", facts.name, "--confirm"),
        asks=(Retire(keep_copy=bool(proposed.asked.get("keep_copy"))),),
        gates=gates,
        measure=Measure.RETIRE,
    )


def _retired(facts: Facts, state: State) -> Step:
    rest = facts.streams and (facts.streams[0].begun or (not state.is_streamed and facts.streams[1].begun))
    if rest:
        return Step(
            key=Key.RETIRE,
            title="Take away what is left of its streams",
            does="It is retired, and a database did not answer when its streams were taken away.",
            typed=typed("retire", facts.name),
        )
    if state.is_streamed:
        return Step(
            key=Key.COPY_KEPT,
            title="When nobody reads the monolith's tables any more, end the copy",
            does="It is retired; its tables in the monolith follow the service, and are fenced. They stay fenced.",
            typed=typed("sync", "remove", facts.name, reason="nobody reads it there any more"),
            asks=(StopSync(),),
        )
    return _end(
        facts,
        "It is retired, and nothing is streamed. What is left is by hand: the monolith's tables, fenced until they are"
        " dropped, and the code that was theirs.",
    )


def _end(facts: Facts, does: str) -> Step:
    return Step(key=Key.END, title="Nothing: the road is at its end", does=does, typed=None)


__all__ = ["RUNGS", "going_on"]
