"""How to go back from where a capability stands, and what that costs now. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace

from strangler.capability import (
    Command,
    ForceMove,
    Kill,
    Phase,
    Refused,
    Stack,
    Stage,
    StartMove,
    State,
    StopSync,
    transit,
)
from strangler.cutover.conductor import PAUSE_S
from strangler.cutover.forcing import Loss
from strangler.playbook.facts import Facts, Unseen, is_bare, stands_alone
from strangler.playbook.step import Other
from strangler.playbook.telling import line, percent
from strangler.playbook.typed import Typed, typed
from strangler.sync.status import Sync
from strangler.sync.telling import duration, size
from strangler.sync.way_back import Gate, way_back

_WHY = "it does not answer well"


@dataclass(frozen=True, slots=True, kw_only=True)
class GoingBack:
    """How one goes back: the command, or None with ``says`` telling why there is none.

    ``readers`` and ``writers`` are what becomes of them, ``lost`` what is lost by it.
    """

    says: str
    typed: Typed | None
    readers: str
    writers: str
    lost: str
    asks: tuple[Command, ...] = ()
    others: tuple[Other, ...] = ()


def going_back(facts: Facts) -> GoingBack:
    """Return the way back from where the capability is, as it would be now."""
    state = facts.state
    if isinstance(facts.ledger, Unseen):
        return _none("A kill and a rollback are decided in the ledger, and that does not answer", lost="not known")
    if state is None:
        return _none("It is not published: nothing has been done yet, and there is nothing to go back from")
    found = _from(facts, state)
    if not facts.ledger.same_files and found.typed is not None:
        found = replace(
            found,
            says=f"{found.says} The files here are not what is published, and it is refused from here until they are:"
            " publish them, or put them back.",
        )
    try:
        for each in found.asks:
            transit(state, each)
    except Refused as exc:
        return replace(found, says=f"There is none: {exc}", typed=None, asks=(), others=())
    return found


def _from(facts: Facts, state: State) -> GoingBack:
    if state.moving is not None:
        return _moving(facts, state)
    if state.stage is Stage.RETIRED:
        return _none("There is none: it is retired, and two people gave it up")
    if stands_alone(state):
        return _none("There is none: only its service has the data, and nothing of it is streamed to the monolith")
    if state.owner is Stack.SERVICE:
        return _roll_back(facts, state)
    if state.reads_leave_owner:
        return _kill(facts, state)
    if state.is_streamed:
        return _remove(facts, state)
    return _none("All reads and writes are with the monolith already: there is nothing to go back from")


def _none(says: str, lost: str = "nothing") -> GoingBack:
    return GoingBack(
        says=f"{says}.", typed=None, readers="stay where they are", writers="stay where they are", lost=lost
    )


def _moving(facts: Facts, state: State) -> GoingBack:
    move = state.moving
    goes_back = move is not None and (move.source is Stack.SERVICE or move.phase is Phase.ABORTING)
    if goes_back:
        return _none(
            "The owner is on its way back to the monolith, or has not left it: the move is brought to its end first"
        )
    return GoingBack(
        says="Reads go to the monolith at once, and are latched there. A cutover that has not switched is aborted by"
        " the same write; one that has is carried on to its end, and gone back from.",
        typed=typed("kill", facts.name, reason=_WHY),
        asks=(Kill(reason=_WHY),),
        readers="all with the monolith, cohorts and overrides off",
        writers=f"wait, for {PAUSE_S:g} s at most, and then go to the owner",
        lost="nothing",
    )


def _kill(facts: Facts, state: State) -> GoingBack:
    cohorts = [name for name, stack in state.cohorts.items() if stack is Stack.SERVICE]
    which = " and ".join(
        [f"{percent(state.share)} of them"] * bool(state.share) + [f"cohort {name}" for name in cohorts]
    )
    rows = "" if is_bare(state) else ": the monolith has every row"
    return GoingBack(
        says="Every read goes to the monolith at once, and that is latched until somebody clears it.",
        typed=typed("kill", facts.name, reason=_WHY),
        asks=(Kill(reason=_WHY),),
        readers=f"{which} return to the monolith within moments",
        writers="stay with the monolith, which owns",
        lost=f"nothing{rows}",
        others=(
            Other(
                when="Without the latch",
                typed=typed("set", facts.name, "--reads", "0%", *_off(state), reason="back to the owner"),
            ),
        ),
    )


def _off(state: State) -> list[str]:
    return [word for name in state.cohorts for word in ("--cohort", f"{name}=off")]


def _remove(facts: Facts, state: State) -> GoingBack:
    latch = f" A kill (strangler kill {facts.name}) would latch reads where they are." if state.killed is None else ""
    return GoingBack(
        says=f"No reader is with the service, and the monolith owns: there is only the copy to take away.{latch}",
        typed=typed("sync", "remove", facts.name, reason="not now"),
        asks=(StopSync(),),
        readers="are with the monolith already",
        writers="are with the monolith already",
        lost="nothing but the copy, which would be made anew; the service's rows stay, and are not read",
    )


def _roll_back(facts: Facts, state: State) -> GoingBack:
    if Stack.SERVICE in facts.away:
        return _by_force(facts, facts.away[Stack.SERVICE])
    if Stack.MONOLITH in facts.away:
        return _none(f"There is none now: {facts.away[Stack.MONOLITH]}", lost="nothing")
    if not isinstance(facts.sync, Sync):
        return _rollback(
            facts, "what the service wrote in the last moments is waited for; how much, could not be looked at"
        )
    found = way_back(state, facts.sync.forward, facts.sync.back)
    if found.gate in (Gate.STOPPED, Gate.NONE):
        return _by_force(facts, facts.sync.back.problem or "no stream leads to the monolith")
    if found.gate is Gate.NOT_FRESH:
        return _rollback(facts, "nothing, once the stream to the monolith follows; until then it would not begin")
    pending = size(found.pending_bytes or 0)
    seconds = f"{max(0.0, found.pending_s or 0.0):.1f} s"
    return _rollback(
        facts, f"nothing: the monolith has yet to apply {pending} of WAL, {seconds} old, which is waited for"
    )


def _rollback(facts: Facts, lost: str) -> GoingBack:
    return GoingBack(
        says="The monolith owns again, with all that the service has written meanwhile. Every read goes to it, until"
        " reads are set again.",
        typed=typed("rollback", facts.name, reason=_WHY),
        asks=(StartMove(),),
        readers="all go to the monolith",
        writers=f"wait for {PAUSE_S:g} s at most, and then go to the monolith",
        lost=lost,
        others=(
            Other(
                when="In a hurry: fewer gates, and reads are latched",
                typed=typed("kill", facts.name, "--yes", reason=_WHY),
            ),
            Other(
                when="To measure the gates, and move nothing",
                typed=typed("rollback", facts.name, "--dry-run", reason="rehearsal"),
            ),
        ),
    )


def _by_force(facts: Facts, why: str) -> GoingBack:
    return GoingBack(
        says=f"Not without loss: {line(why)}. Mend that first, if it can be. By force, this is said to be lost; with"
        " --dry-run nothing is changed.",
        typed=typed("rollback", facts.name, "--force", "--dry-run", reason="its way back is broken"),
        asks=(ForceMove(),),
        readers="all go to the monolith, and see its rows as they came last",
        writers="go to the monolith at once",
        lost=_lost(facts),
        others=(
            Other(
                when="That loss is accepted",
                typed=typed("rollback", facts.name, "--force", "--accept-loss", reason="its way back is broken"),
            ),
        ),
    )


def _lost(facts: Facts) -> str:
    if isinstance(facts.loss, Loss):
        return str(facts.loss)
    if isinstance(facts.loss, Unseen):
        return f"not known: {line(facts.loss.why)}"
    late = facts.sync.back.lag_s if isinstance(facts.sync, Sync) else None
    return "what the monolith has not applied" + ("" if late is None else f", of the last {duration(late)}")
