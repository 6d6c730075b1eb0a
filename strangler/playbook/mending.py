"""What is wrong, and is mended before anything else. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from strangler.capability import (
    Clear,
    CompleteBar,
    ForceMove,
    Kill,
    Phase,
    RaiseFence,
    Stack,
    Stage,
    State,
    StopSync,
)
from strangler.cutover.conductor import PAUSE_S
from strangler.cutover.watching import GRACE_S
from strangler.playbook.facts import Facts, Recorded, Unseen, is_bare, is_read_there
from strangler.playbook.step import Key, Other, Step
from strangler.playbook.telling import sentence
from strangler.playbook.typed import Typed, typed
from strangler.sync.refilling import hold_words
from strangler.sync.status import Status, Sync
from strangler.sync.telling import duration

_ANEW: Final = "start it anew"
"""What the sync says of a stream that no mending helps: see ``sync.identity`` and ``sync.status``."""


def mending(facts: Facts, state: State) -> Step | None:
    """Return what is to be done first, None where nothing is wrong that can be seen."""
    found = (each(facts, state) for each in _LOOKS)
    return next((step for step in found if step is not None), None)


def _moving(facts: Facts, state: State) -> Step | None:
    move = state.moving
    if move is None:
        return None
    age_s = facts.ledger.age_s if isinstance(facts.ledger, Recorded) else 0.0
    last = facts.ledger.entries[:1] if isinstance(facts.ledger, Recorded) else ()
    pause_s = max((float(each.evidence.get("pause_s", PAUSE_S)) for each in last), default=PAUSE_S)
    towards = f"from the {move.source} to the {move.source.other}"
    if age_s <= pause_s + GRACE_S and move.phase is not Phase.FORCED:
        return Step(
            key=Key.MOVE,
            title="Wait: the owner is being moved",
            does=f"Somebody moves it {towards} right now ({move.phase}, the last step {age_s:.1f} s ago).",
            typed=typed("status"),
        )
    way = "goes back" if move.phase in (Phase.PREPARED, Phase.ABORTING) else "goes forward"
    return Step(
        key=Key.MOVE,
        title="Bring the move of the owner to its end",
        does=f"It was moved {towards}, and nobody has carried that on for {duration(age_s)} ({move.phase}): it {way},"
        " and nothing is lost. Until then its writes are turned away.",
        typed=typed("resume", facts.name, reason="whoever moved the owner has left it"),
        notes=("strangler sync run does the same by itself, some seconds after the pause, wherever it runs.",),
    )


def _barred(facts: Facts, state: State) -> Step | None:
    move = state.move
    if move is None or move.phase is not Phase.BARRING:
        return None
    away = facts.away.get(Stack.SERVICE)
    if away is None:
        return Step(
            key=Key.BAR,
            title="Fence the service's database",
            does="It has come back after the rollback that was forced, and may be written. It is fenced, and what it"
            " wrote and the monolith lacks is read out into the history.",
            typed=typed("resume", facts.name, reason="its database is back"),
            asks=(CompleteBar(epoch=move.epoch),),
        )
    return Step(
        key=Key.BAR,
        title="Have somebody watch for the service's database",
        does=f"The rollback was forced, and that database ({away}) is open when it comes back, until it is fenced:"
        " sync run looks every second. Keep it running, and the service's own writers stopped.",
        typed=typed("sync", "run"),
    )


def _drifted(facts: Facts, state: State) -> Step | None:
    if not isinstance(facts.ledger, Recorded) or facts.ledger.same_files:
        return None
    return publish(
        facts,
        "The files here are not what is published, and until they are, toggles and kills are refused from here. What"
        " they say now comes into force",
    )


def publish(facts: Facts, does: str) -> Step:
    """Return the step that brings the files into force."""
    return Step(
        key=Key.PUBLISH,
        title="Bring the files into force",
        does=f"{does}.",
        typed=typed("publish", reason=f"the files of {facts.name}"),
    )


def _unseen(facts: Facts, state: State) -> Step | None:
    """Say to look where it is not known how the streams are: nothing is decided on what nobody has seen."""
    if not state.is_streamed or not isinstance(facts.sync, Unseen):
        return None
    return Step(
        key=Key.LOOK,
        title="See how the streams are",
        does=f"They could not be looked at: {facts.sync.why}.",
        typed=typed("sync", "status", facts.name),
    )


def _writes_refused(facts: Facts, state: State) -> Step | None:
    if state.read_only is None or facts.away:
        return None
    return Step(
        key=Key.CLEAR,
        title="Take writes again",
        does=f"Every write is refused: {state.read_only}. When that is mended, this takes them again, and the service"
        " answers every read.",
        typed=typed("kill", facts.name, "--clear", reason="mended"),
        asks=(Clear(),),
    )


def _away(facts: Facts, state: State) -> Step | None:
    """A database that does not answer, where the capability has rows in it that somebody wants."""
    if not facts.away or not (state.is_streamed or facts.has_tables):
        return None
    if not state.is_streamed and state.stage is not Stage.MONOLITH:
        return None
    why = sentence("; ".join(facts.away.values()))
    if is_read_there(state) and Stack.SERVICE in facts.away:
        return _readers_back(facts, f"{why}. Readers of the service meet that")
    if state.stage is Stage.SERVICE and Stack.SERVICE in facts.away:
        return _owner_away(facts, state, why)
    return Step(
        key=Key.LOOK,
        title="Have the database answer again",
        does=f"{why}. Nothing else can be done before; what the owner writes is kept for the stream meanwhile.",
        typed=typed("sync", "status", facts.name),
    )


def _owner_away(facts: Facts, state: State, why: str) -> Step:
    refuse = Other(
        when="It will be back in a time that can be borne: refuse writes, and have reads answered meanwhile",
        typed=typed("kill", facts.name, "--read-only", "--yes", reason="its database is away"),
    )
    return Step(
        key=Key.BAR,
        title="See what going back by force would lose",
        does=f"{why}, and the service owns the data. Nothing is lost yet: what it acknowledged stands on its disk."
        " Start that server first. This changes nothing, and says what the monolith lacks.",
        typed=typed("rollback", facts.name, "--force", "--dry-run", reason="its database is away"),
        asks=(ForceMove(),),
        others=(
            *([refuse] if state.read_only is None else []),
            Other(
                when="It will not, and that loss is accepted",
                typed=typed("rollback", facts.name, "--force", "--accept-loss", reason="its database is gone"),
            ),
        ),
    )


def _readers_back(facts: Facts, why: str) -> Step:
    return Step(
        key=Key.STREAM,
        title="Take the readers back",
        does=f"{why}. They go to the monolith at once, and that is latched; nothing is lost.",
        typed=typed("kill", facts.name, reason="its copy does not follow"),
        asks=(Kill(reason="its copy does not follow"),),
    )


def _broken(facts: Facts, state: State) -> Step | None:
    """A stream that cannot go on, or is not there though the ledger has it."""
    used = facts.streams[1:] if state.stage is Stage.RETIRED else facts.streams
    broken = [each for each in used if each.problem is not None or not each.begun]
    if not state.is_streamed or not broken or facts.away:
        return None
    why = "; ".join(f"{_name(each)}: {each.problem or 'it is not there'}" for each in broken)
    if is_read_there(state):
        return _readers_back(facts, f"The {why}. Readers of the service see its copy as it was")
    is_over = any(not each.begun or _ANEW in (each.problem or "") for each in broken)
    is_left = any(hold_words(facts.name) == each.problem for each in broken)
    if is_left or (is_over and state.stage is Stage.SERVICE):
        return _refill(facts, state, f"The {why}")
    if is_over and state.stage is Stage.SHADOW:
        other = Other(when="To leave its rows where they are, and write what differs", typed=_refilling(facts))
        return replace(_remove(facts, f"The {why}"), others=(other,))
    if is_over and state.stage is Stage.SYNCING:
        return _remove(facts, f"The {why}")
    return Step(
        key=Key.STREAM,
        title="Mend the stream",
        does=f"The {why}. It is tried again every few seconds, and goes on by itself once that is mended.",
        typed=typed("sync", "status", facts.name),
    )


def _remove(facts: Facts, why: str) -> Step:
    return Step(
        key=Key.STREAM,
        title="Begin the copy anew",
        does=f"{why}. The streams are taken away here, and begun anew after that; the monolith owns, and serves"
        " everybody.",
        typed=typed("sync", "remove", facts.name, reason="the copy is made anew"),
        asks=(StopSync(),),
    )


def _refill(facts: Facts, state: State, why: str) -> Step:
    owner, other = state.owner, state.owner.other
    return Step(
        key=Key.STREAM,
        title=f"Fill the {other}'s tables from the {owner}'s",
        does=f"{why}. The {owner} lacks nothing, and nobody waits for it. This fences the {other}'s tables, makes them"
        f" what the {owner}'s are, and begins both streams anew; until then no move of the owner begins.",
        typed=_refilling(facts),
        asks=(RaiseFence(),),
        notes=(f"Where it is the {owner}'s own database that was put back, it refuses, and says so.",),
    )


def _refilling(facts: Facts) -> Typed:
    return typed("sync", "refill", facts.name, reason="a stream could not go on")


def _nobody_applies(facts: Facts, state: State) -> Step | None:
    idle = [each for each in facts.streams if each.begun and not each.running and each.problem is None]
    if not state.is_streamed or not idle or facts.away:
        return None
    return Step(
        key=Key.STREAM,
        title="Have the streams applied",
        does=f"Nobody applies the {' and the '.join(map(_name, idle))}: servers keep what is written until somebody"
        " does. It stays; keep it running, under whatever runs services here, and go on in another terminal.",
        typed=typed("sync", "run"),
    )


def _late(facts: Facts, state: State) -> Step | None:
    """A stream that runs and is behind. While rows are copied that is nothing."""
    late = [each for each in facts.streams if not each.follows]
    if not state.is_streamed or state.stage in (Stage.SYNCING, Stage.RETIRED) or not late or facts.away:
        return None
    ages = "; ".join(f"{_name(each)}: {_age(each)}" for each in late)
    return Step(
        key=Key.STREAM,
        title="Wait until the streams follow",
        does=f"The {ages}. A large transaction comes through, or the target is too slow for what the source writes.",
        typed=typed("sync", "status", facts.name),
    )


def _differs(facts: Facts, state: State) -> Step | None:
    if not isinstance(facts.sync, Sync) or not state.is_streamed or facts.away:
        return None
    whole, part = facts.sync.verified.whole, facts.sync.verified.part
    if whole is None or (whole.equal and (part is None or part.equal)):
        return None
    if state.stage is Stage.SYNCING:
        return _remove(
            facts, "Both sides were compared after the copy, and differ: see who writes to the service's tables"
        )
    again = typed("sync", "verify", facts.name)
    if state.owner is Stack.SERVICE or (not whole.equal and part is not None and part.equal):
        return Step(
            key=Key.STREAM,
            title="Compare both sides again",
            does="They differed when all rows were compared last"
            + (
                "; some were repaired since."
                if state.owner is Stack.MONOLITH
                else ", and the service owns: what it has is true."
            ),
            typed=again,
        )
    return Step(
        key=Key.STREAM,
        title="Repair the rows that differ",
        does="Both sides were compared, and some rows differ. Find out who wrote there first, or they differ again;"
        " this makes them what the monolith has, while the stream goes on.",
        typed=typed("sync", "repair", facts.name, reason="they differed when they were compared"),
        others=(Other(when="To see them side by side", typed=again),),
    )


def _latched(facts: Facts, state: State) -> Step | None:
    """The latch of a kill, once there is nothing else to be done before it is cleared."""
    if state.killed is None or state.stage in (Stage.SYNCING, Stage.RETIRED):
        return None
    if state.stage is Stage.MONOLITH and not is_bare(state):
        return None
    return Step(
        key=Key.CLEAR,
        title="Clear the kill",
        does=f"It was killed: {state.killed}. When that is mended, this takes the latch off; reads stay with the owner"
        " until they are set again.",
        typed=typed("kill", facts.name, "--clear", reason="mended"),
        asks=(Clear(),),
    )


def _name(stream: Status) -> str:
    return "stream to the service" if stream.way == "forward" else "stream to the monolith"


def _age(stream: Status) -> str:
    return "no heartbeat has come yet" if stream.lag_s is None else f"{duration(stream.lag_s)} behind"


_LOOKS: Final[tuple[Callable[[Facts, State], Step | None], ...]] = (
    _moving,
    _barred,
    _drifted,
    _away,
    _unseen,
    _writes_refused,
    _broken,
    _nobody_applies,
    _late,
    _differs,
    _latched,
)
