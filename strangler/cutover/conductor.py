"""A conductor: performs the steps of a move of ownership, and asks the ledger whenever it is not sure.

What is safe is the protocol's matter, see ``protocol``. Here it is decided how long each step may take. All up to the
switch has the pause's budget, counted from the moment from which writes wait; what then is not done is aborted. From
the switch on, and on the way back, there is nothing to give up: each step is tried until it is done, and who runs out
of patience leaves it to whoever resumes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg

from strangler.capability import (
    AbortMove,
    Command,
    CompleteAbort,
    CompleteMove,
    Move,
    Refused,
    Stack,
    StartMove,
    State,
    SwitchOwner,
)
from strangler.cutover.ends import Ends
from strangler.cutover.protocol import ABORTABLE, End, Outcome, Progress, Step, advance, at_rest, begin, found, resume
from strangler.cutover.proving import Proving, proving
from strangler.ledger import Change, LedgerError, Publication, Publisher, Unacknowledged, Unreachable
from strangler.ledger.publish import WAIT_S
from strangler.project import Project
from strangler.sync import fence, quiet
from strangler.sync.errors import StaleEpoch, SyncError
from strangler.sync.pgoutput import lsn_text
from strangler.sync.syncing import Asked
from strangler.sync.verify import first_line

PAUSE_S: Final = 2.0
"""What writes wait at most, unless somebody says otherwise: a fifth of what a proxy lets them wait (``Hold``)."""
PATIENCE_S: Final = 60.0
_LOOK_S: Final = 0.002
_AGAIN_S: Final = 0.1
_LONGEST_S: Final = 2.0


class Unfinished(Exception):
    """Ownership is on its way, and this conductor gives up. Mend what the message names, then resume."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Performed:
    """A step as it went, and in how many milliseconds. ``said`` is what came of it, for a person."""

    step: Step
    outcome: Outcome
    ms: float
    said: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """How a move ended for this conductor. ``pause_ms`` is how long writes waited at most, None where none did."""

    end: End
    epoch: int
    owner: Stack
    steps: tuple[Performed, ...]
    pause_ms: float | None = None
    why: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        steps = [
            {"step": each.step, "outcome": each.outcome, "ms": round(each.ms, 1), "said": each.said}
            for each in self.steps
        ]
        return {
            "end": self.end,
            "epoch": self.epoch,
            "owner": self.owner,
            "pause_ms": None if self.pause_ms is None else round(self.pause_ms, 1),
            "why": self.why,
            "steps": steps,
            "evidence": dict(self.evidence),
        }


def move(
    asked: Asked,
    project: Project,
    publisher: Publisher,
    *,
    told: Callable[[Performed], None],
    pause_s: float = PAUSE_S,
    epoch: int | None = None,
    evidence: Mapping[str, Any] | None = None,
) -> Moved:
    """Move the owner of a capability to the other stack: the gates have been looked at, at ``epoch``.

    What they have measured is ``evidence``, too.

    Interrupted, it goes back first, or forward where the owner has switched. Raises ``Unfinished`` where it cannot be
    brought to an end, and ``LedgerError`` before anything has begun.
    """
    state = publisher.ledger.state(asked.capability)
    if epoch is not None and state.epoch != epoch:
        raise Refused(f"{asked.capability} went from epoch {epoch} to {state.epoch} meanwhile; look, then decide again")
    first = begin(record_of(state))
    if isinstance(first, End):
        raise Refused(f"the owner of {asked.capability} is being moved already; resume that first")
    with Ends(project.capabilities[asked.capability], project) as ends:
        conductor = _Conductor(asked, project, publisher, ends, told, pause_s, evidence)
        try:
            conductor.make_ready(first.source.other)
            return conductor.run(first)
        except KeyboardInterrupt:
            conductor.give_up()
            raise
        except psycopg.Error as exc:  # before anybody waits: each step tells its own
            raise SyncError(first_line(exc)) from exc
        finally:
            conductor.clear_up()


def carry_on(
    asked: Asked,
    project: Project,
    publisher: Publisher,
    *,
    told: Callable[[Performed], None],
    patience_s: float = PATIENCE_S,
) -> Moved | None:
    """Bring a move to its end that somebody has begun and not ended; None where there is none, or it is forced.

    Raises ``Unfinished`` where a step of it cannot be done within ``patience_s``. Interrupted, it leaves the move as it
    is: whoever comes next goes on with it.
    """
    state = publisher.ledger.state(asked.capability)
    if state.moving is None:
        return None
    first = resume(record_of(state))
    if isinstance(first, End):
        return None
    with Ends(project.capabilities[asked.capability], project) as ends:
        conductor = _Conductor(asked, project, publisher, ends, told, PAUSE_S, patience_s=patience_s)
        try:
            return conductor.run(first)
        finally:
            conductor.clear_up()


def record_of(state: State, at: Progress | None = None) -> Move:
    """Return what the protocol knows of a state: the move that is under way, or was ``at``'s, or that it is at rest.

    Other transitions raise the epoch, too. So a move that has ended is one's own only by its own epoch.
    """
    last = state.move
    if last is not None and (state.moving is not None or (at is not None and last.epoch in (at.epoch, at.epoch + 1))):
        return last
    return at_rest(owner=state.owner, epoch=state.epoch)


class _Conductor:
    def __init__(
        self,
        asked: Asked,
        project: Project,
        publisher: Publisher,
        ends: Ends,
        told: Callable[[Performed], None],
        pause_s: float,
        evidence: Mapping[str, Any] | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._asked, self._project, self._publisher, self._ends = asked, project, publisher, ends
        self._told, self._pause_s, self._patience_s = told, pause_s, patience_s
        self._steps: list[Performed] = []
        self._evidence: dict[str, Any] = dict(evidence or {})
        self._held_at: float | None = None  # when writes began to wait
        self._pause_ms: float | None = None
        self._said = self._why = ""
        self._publication: Publication | None = None  # of the table that asks for the hold
        self._proving: Proving | None = None
        self._kept = ExitStack()

    # --- before and after anybody waits ---

    def make_ready(self, to: Stack) -> None:
        """Connect, look at the catalogues, and keep autovacuum away: for none of this anybody waits."""
        for stack in Stack:
            quiet.quiet_autovacuum(self._ends.at(stack), self._ends.fence(stack))
        self._proving = self._kept.enter_context(proving(self._ends, to, self._project))
        self._publisher.listen()

    def clear_up(self) -> None:
        """Let autovacuum come again. Where a database is away whoever moves the owner next does it."""
        self._kept.close()
        for stack in Stack:
            with suppress(SyncError, psycopg.Error):
                quiet.restore_autovacuum(self._ends.at(stack), self._ends.fence(stack))

    # --- step by step ---

    def run(self, first: Progress) -> Moved:
        at: Progress | End = first
        patience, wait = time.monotonic() + self._patience_s, _AGAIN_S
        last = first
        while isinstance(at, Progress):
            last, outcome = at, self._perform(at)
            after = self._after(at, outcome)
            if after == at:  # it has to be tried again
                if time.monotonic() > patience:
                    raise Unfinished(self._unfinished(at))
                time.sleep(min(wait, self._left_s()) if at.step in ABORTABLE else wait)
                wait = min(2 * wait, _LONGEST_S)
            else:
                patience, wait = time.monotonic() + self._patience_s, _AGAIN_S
            at = after
        return self._moved(at, last)

    def give_up(self) -> None:
        """Bring to its end what this one has begun: nobody is to wait for somebody else to do so."""
        if self._held_at is None:
            return
        state = self._state("given up")
        first = resume(record_of(state)) if state.moving is not None else End.REFUSED
        if isinstance(first, Progress):
            self.run(first)

    def _after(self, at: Progress, outcome: Outcome) -> Progress | End:
        """Return where the conductor stands; what it cannot know the ledger tells, as soon as it answers."""
        if outcome is not Outcome.DONE and at.step in ABORTABLE and self._is_over():
            outcome = Outcome.FAILED  # whatever became of it: who aborts claims the source anew
        after = advance(at, outcome)
        return found(at, self._record(at)) if isinstance(after, Progress) and after.unsure else after

    def _record(self, at: Progress) -> Move:
        return record_of(self._state(self._unfinished(at)), at)

    def _state(self, doing: str) -> State:
        """Return what the ledger has, as soon as it answers."""
        until, wait = time.monotonic() + self._patience_s, _AGAIN_S
        while True:
            try:
                self._publisher.ledger.reconnect(self._project)
                return self._publisher.ledger.state(self._asked.capability)
            except LedgerError as exc:
                if time.monotonic() > until:
                    raise Unfinished(f"{doing}: {exc}") from exc
                time.sleep(wait)
                wait = min(2 * wait, _LONGEST_S)

    def _perform(self, at: Progress) -> Outcome:
        began, self._said = time.monotonic(), ""
        outcome = self._outcome(at)
        performed = Performed(step=at.step, outcome=outcome, ms=1_000 * (time.monotonic() - began), said=self._said)
        if outcome is not Outcome.DONE and not self._why:
            self._why = f"{at.step}: {self._said}"
        self._steps.append(performed)
        self._told(performed)
        return outcome

    def _outcome(self, at: Progress) -> Outcome:
        try:
            _PERFORMING[at.step](self, at)
        except StaleEpoch as exc:
            self._said = str(exc)
            return Outcome.REFUSED
        except Refused as exc:
            self._said = str(exc)
            return Outcome.FAILED if at.step is Step.PREPARE else Outcome.REFUSED
        except (Unacknowledged, SyncError) as exc:
            self._said = str(exc)
            return Outcome.FAILED
        except LedgerError as exc:
            self._said = str(exc)
            refused = at.step is Step.PREPARE and not isinstance(exc, Unreachable)
            return Outcome.FAILED if refused else Outcome.UNKNOWN
        except psycopg.Error as exc:
            self._said = first_line(exc)
            self._forget_connections()
            return Outcome.UNKNOWN
        return Outcome.DONE

    def _forget_connections(self) -> None:
        for stack in Stack:
            self._ends.drop(stack)

    # --- the ledger ---

    def _prepare(self, at: Progress) -> None:
        files = self._project.capabilities[self._asked.capability]
        change = self._change(StartMove(), epoch=at.epoch)
        # Pushed by ``_hold``: until then nobody need wait, though a worker may hear of it from the ledger.
        self._publication = self._publisher.ledger.apply(change, files)
        self._held_at = time.monotonic()

    def _switch(self, at: Progress) -> None:
        # Not pushed: writes still wait, and a broker that hangs is not to be waited for now.
        self._publisher.ledger.apply(self._change(SwitchOwner(epoch=at.epoch)))

    def _finish(self, at: Progress) -> None:
        self._release(CompleteMove(epoch=at.epoch))

    def _abort(self, at: Progress) -> None:
        self._publisher.ledger.apply(self._change(AbortMove(epoch=at.epoch)))

    def _finish_abort(self, at: Progress) -> None:
        self._release(CompleteAbort(epoch=at.epoch))

    def _release(self, command: CompleteMove | CompleteAbort) -> None:
        """Publish a table without the hold: writes that wait go on, to whoever owns now."""
        started = time.monotonic()
        publication = self._publisher.ledger.apply(self._change(command))
        try:
            arrived = self._publisher.push(publication, started=started, wait_s=WAIT_S)
            self._said = f"{arrived.workers} workers route by version {arrived.version}"
        except Unacknowledged as exc:  # it is committed: who is late hears of it
            self._said = str(exc)
        if self._held_at is not None:
            self._pause_ms = 1_000 * (time.monotonic() - self._held_at)

    def _change(self, command: Command, epoch: int | None = None) -> Change:
        return Change(
            capability=self._asked.capability,
            command=command,
            who=self._asked.who,
            reason=self._asked.reason,
            epoch=epoch,
            evidence={
                **self._evidence,
                "pause_s": self._pause_s,
                "steps_ms": self._steps_ms(),
                **({"why": self._why} if self._why else {}),
            },
        )

    def _steps_ms(self) -> dict[str, float]:
        return {str(each.step): round(each.ms, 1) for each in self._steps}

    # --- proxies and databases ---

    def _claim_source(self, at: Progress) -> None:
        fence.claim(self._ends.at(at.source), self._asked.capability, at.epoch, self._claim_s(at))

    def _claim_target(self, at: Progress) -> None:
        fence.claim(self._ends.at(at.source.other), self._asked.capability, at.epoch, self._claim_s(at))

    def _hold(self, at: Progress) -> None:
        if self._publication is not None:
            self._publisher.push(self._publication, started=time.monotonic(), wait_s=None)
        lease = self._project.capabilities[self._asked.capability].protect.lease or 0.0
        heard = self._publisher.await_hold(
            self._asked.capability, at.epoch, lease_s=lease, deadline=time.monotonic() + self._left_s()
        )
        parked = sum(each.held[self._asked.capability].parked for each in heard if self._asked.capability in each.held)
        self._said = f"{len(heard)} workers, {parked} writes wait"

    def _fence(self, at: Progress) -> None:
        raised = fence.raise_fence(
            self._ends.at(at.source),
            self._ends.fence(at.source),
            epoch=at.epoch,
            owner=at.source.other,
            budget_s=self._left_s(),
        )
        self._evidence["fence"] = {"position": lsn_text(raised.position), "marker": lsn_text(raised.marker or 0)}
        self._said = f"marker {at.epoch} at {lsn_text(raised.position)}, locks waited for {raised.locked_ms:.0f} ms"

    def _drain(self, at: Progress) -> None:
        target, until = self._ends.at(at.source.other), time.monotonic() + self._left_s()
        while (seen := fence.marker_seen(target, self._asked.capability)) is None or seen < at.epoch:
            if time.monotonic() > until:
                raise SyncError(f"marker {at.epoch} has not come to the {at.source.other} within the pause")
            time.sleep(_LOOK_S)
        self._evidence["drained"] = {"marker": seen}
        self._said = f"marker {seen} is applied"

    def _prove(self, at: Progress) -> None:
        if self._proving is None:
            raise SyncError("this conductor has taken a move up, and can only bring it back")
        proof = self._proving.prove(at.epoch)
        if self._is_over():
            raise SyncError(f"the pause of {self._pause_s:g} s is over: {proof}")
        self._evidence["proof"] = proof.to_json()
        self._said = str(proof)

    def _unfence(self, at: Progress) -> None:
        to = at.source.other
        lowered = fence.lower_fence(self._ends.at(to), self._ends.fence(to), epoch=at.epoch, budget_s=self._patience_s)
        self._said = f"the {to} may write from {lsn_text(lowered.position)} on"

    def _lower(self, at: Progress) -> None:
        budget_s = self._patience_s
        fence.lower_fence(self._ends.at(at.source), self._ends.fence(at.source), epoch=at.epoch, budget_s=budget_s)
        self._said = f"the {at.source} may write again"

    # --- time ---

    def _left_s(self) -> float:
        """Return how much of the pause is left, and a moment where none is: that step then fails by itself."""
        if self._held_at is None:
            return self._pause_s
        return max(0.001, self._held_at + self._pause_s - time.monotonic())

    def _claim_s(self, at: Progress) -> float:
        return self._left_s() if at.step in ABORTABLE else fence.CLAIM_S

    def _is_over(self) -> bool:
        return self._held_at is not None and time.monotonic() > self._held_at + self._pause_s

    # --- told ---

    def _moved(self, end: End, last: Progress) -> Moved:
        return Moved(
            end=end,
            epoch=last.epoch,
            owner=self._state(f"{last.step} is done").owner,
            steps=tuple(self._steps),
            pause_ms=self._pause_ms,
            why=self._why,
            evidence=self._evidence,
        )

    def _unfinished(self, at: Progress) -> str:
        return (
            f"ownership of {self._asked.capability} is on its way at epoch {at.epoch}, and {at.step} cannot be done:"
            f" {self._said or self._why}"
        )


_PERFORMING: Final[Mapping[Step, Callable[[_Conductor, Progress], None]]] = {
    Step.PREPARE: _Conductor._prepare,
    Step.CLAIM_SOURCE: _Conductor._claim_source,
    Step.CLAIM_TARGET: _Conductor._claim_target,
    Step.HOLD: _Conductor._hold,
    Step.FENCE: _Conductor._fence,
    Step.DRAIN: _Conductor._drain,
    Step.PROVE: _Conductor._prove,
    Step.SWITCH: _Conductor._switch,
    Step.UNFENCE: _Conductor._unfence,
    Step.FINISH: _Conductor._finish,
    Step.ABORT: _Conductor._abort,
    Step.RECLAIM: _Conductor._claim_source,
    Step.LOWER: _Conductor._lower,
    Step.FINISH_ABORT: _Conductor._finish_abort,
}
