"""What must hold before the owner moves: each gate with what was measured, and the way on where it does not hold.

No I/O: ``Facts`` are gathered by ``looking``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from strangler.capability import Refused, Stack, StartMove, State, transit
from strangler.ledger import Worker
from strangler.ledger.publish import LIVE_S, late
from strangler.sync.blocking import Blocker, Kind
from strangler.sync.changed import MOST
from strangler.sync.fence import Claim
from strangler.sync.status import Status
from strangler.sync.telling import duration
from strangler.sync.writers import Report

LAG_S: Final = 3.0
"""A heartbeat is written once a second and comes within moments: one that is older than three has not come."""
LAG_BYTES: Final = 16 << 20
"""So much WAL is applied in a second or so (86,000 rows a second were seen): what is more would be waited for."""

OBSERVED_S: Final = 86_400.0
"""What runs once a day was seen then; a week shows what runs once a week, too."""
STALE_S: Final = 30 * 86_400.0
"""So long after it ended what was seen still says who writes: deploys bring others."""
_NAMED: Final = 5
WRITERS: Final = "writers"
"""The gate whose measure goes into the history with a move: who had looked, and what was seen."""


class Outcome(StrEnum):
    PASS = "pass"  # noqa: S105  # no password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a gate was found: what was ``measured``, and the way on where it does not pass."""

    gate: str
    outcome: Outcome
    measured: str
    cure: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"gate": self.gate, "outcome": self.outcome, "measured": self.measured, "cure": self.cure}


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The last comparison of all rows, as the stream towards the new owner makes them.

    ``changed`` is how many keys have changed since, None where that is not known or any may have; ``why`` says so.
    """

    equal: bool | None
    age_s: float | None = None
    changed: int | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is looked at for a move of ``capability``. Databases are called by their stack.

    ``ahead`` is the stream from the owner to who is to own, ``back`` the one the other way. ``claims`` are the fences'
    as the databases have them, ``drift`` is what may have passed the one of who is to own.
    """

    capability: str
    state: State
    ahead: Status
    back: Status
    compared: Compared
    workers: Sequence[Worker]
    version: int
    claims: Mapping[Stack, Claim | None]
    drift: Sequence[str]
    blockers: Mapping[Stack, Sequence[Blocker]]
    writers: Report
    unobserved: bool = False


def verdicts(facts: Facts, *, urgent: bool = False) -> list[Verdict]:
    """Return every gate's verdict, in the order in which a person would mend them.

    In an ``urgent`` move those alone hold without which something would be lost, or wrong afterwards. The others tell
    beforehand that it may not come about: how far the stream is behind, who holds locks, which proxies are late. The
    pause ends what waits for these. And whether there would be a way to the owner of now is asked another time.
    """
    safety = [
        _state(facts),
        _stream("stream", facts.ahead, lag_counts=not urgent),
        _compared(facts),
        _claims(facts),
        _fence(facts),
    ]
    if urgent:
        return safety
    comfort = [*_writers(facts), *_locks(facts), proxies(facts.workers, facts.version)]
    return [*safety[:2], _stream("way back", facts.back), *safety[2:], *comfort]


def passes(found: Sequence[Verdict]) -> bool:
    return all(each.outcome is Outcome.PASS for each in found)


def _state(facts: Facts) -> Verdict:
    state = facts.state
    shown = f"stage {state.stage}, owner {state.owner}, epoch {state.epoch}"
    try:
        transit(state, StartMove())
    except Refused as exc:
        return Verdict(gate="state", outcome=Outcome.FAIL, measured=shown, cure=str(exc))
    return Verdict(gate="state", outcome=Outcome.PASS, measured=shown)


def _stream(gate: str, found: Status, *, lag_counts: bool = True) -> Verdict:
    if not found.begun or found.problem is not None:
        why = found.problem or "it was never begun"
        return Verdict(gate=gate, outcome=Outcome.FAIL, measured=why, cure="see strangler sync status")
    if not found.running:
        cure = "start strangler sync run"
        return Verdict(gate=gate, outcome=Outcome.FAIL, measured="nobody applies it", cure=cure)
    if found.lag_s is None or found.lag_bytes is None:
        measured = "no heartbeat has come yet"
        return Verdict(gate=gate, outcome=Outcome.INCONCLUSIVE, measured=measured, cure="wait for a second or two")
    measured = f"{max(0.0, found.lag_s):.1f} s and {found.lag_bytes:,} bytes behind"
    late_by = lag_counts and (found.lag_s > LAG_S or found.lag_bytes > LAG_BYTES)
    wanted = f"wait until it is at most {LAG_S:g} s and {LAG_BYTES:,} bytes behind: strangler sync status --watch"
    return Verdict(
        gate=gate,
        outcome=Outcome.FAIL if late_by else Outcome.PASS,
        measured=measured,
        cure=wanted if late_by else "",
    )


def _compared(facts: Facts) -> Verdict:
    found, again = facts.compared, f"strangler sync verify {facts.capability}"
    if found.equal is None or found.age_s is None:
        return Verdict(gate="verify", outcome=Outcome.INCONCLUSIVE, measured=found.why, cure=again)
    age = f"all rows compared {duration(found.age_s)} ago"
    if not found.equal:
        repair = f"strangler sync repair {facts.capability}"
        refill = f"make them in the monolith what the service has: strangler sync refill {facts.capability}"
        mend = repair if facts.state.owner is Stack.MONOLITH else refill
        cure = f"{mend}, then {again}"
        return Verdict(gate="verify", outcome=Outcome.FAIL, measured=f"{age}, and some differed", cure=cure)
    if found.changed is None or found.changed > MOST:
        why = found.why or f"{found.changed:,} keys have changed since, and {MOST:,} are compared in a pause at most"
        return Verdict(gate="verify", outcome=Outcome.FAIL, measured=f"{age}, equal; {why}", cure=again)
    measured = f"{age}, equal; {found.changed:,} keys changed since"
    return Verdict(gate="verify", outcome=Outcome.PASS, measured=measured)


def _claims(facts: Facts) -> Verdict:
    """Hold the databases against the ledger: one that was restored from a backup knows of less than they do."""
    state = facts.state
    ahead = [
        f"the {stack}'s database stands at epoch {claim.epoch}"
        for stack, claim in facts.claims.items()
        if claim is not None and claim.epoch > state.epoch
    ]
    owner = facts.claims.get(state.owner)
    if owner is not None and owner.raised and state.moving is None:
        ahead.append(f"the {state.owner}, which owns by the ledger, is fenced")
    if ahead:
        return Verdict(
            gate="ledger",
            outcome=Outcome.FAIL,
            measured=f"epoch {state.epoch}, and yet {', and '.join(ahead)}",
            cure="restore the newer ledger; take nothing away and begin nothing anew: what was written since would go",
        )
    missing = [str(stack) for stack, claim in facts.claims.items() if claim is None]
    if missing:
        return Verdict(
            gate="ledger",
            outcome=Outcome.FAIL,
            measured=f"there is no fence in the database of the {', nor of the '.join(missing)}",
            cure="start strangler sync run of this release, which makes what is missing",
        )
    return Verdict(
        gate="ledger", outcome=Outcome.PASS, measured=f"epoch {state.epoch}, and the databases at no later one"
    )


def _fenced_anew(facts: Facts) -> str:
    """Return what has the side fenced that does not own. Streams of what a service owns cannot be begun anew."""
    name = facts.capability
    if facts.state.owner is Stack.SERVICE:
        return (
            f"strangler fence raise {name}; somebody may have written there since its database was restored, which"
            f" strangler sync refill {name} undoes"
        )
    return f"where the ledger is whole: strangler sync remove {name}, strangler sync start {name} --replace"


def _fence(facts: Facts) -> Verdict:
    to = facts.state.owner.other
    claim = facts.claims.get(to)
    if claim is None or not claim.raised:
        return Verdict(
            gate="fence",
            outcome=Outcome.FAIL,
            measured=f"the {to} is not fenced, and others may write there",
            cure=_fenced_anew(facts),
        )
    if facts.drift:
        return Verdict(
            gate="fence",
            outcome=Outcome.FAIL,
            measured=f"the {to}: {'; '.join(facts.drift)}",
            cure=f"strangler fence raise {facts.capability}, then see what was written there: strangler sync verify"
            f" {facts.capability}",
        )
    return Verdict(gate="fence", outcome=Outcome.PASS, measured=f"the {to} is fenced as it was when it was raised")


def _writers(facts: Facts) -> Iterator[Verdict]:
    """Look for who would meet the fence and not know why. Who goes back has written at the service all the time."""
    if facts.state.owner is not Stack.MONOLITH:
        return
    found, unknown = facts.writers, lacking(facts.writers)
    holding = [] if unknown == _NEVER else found.holding
    if holding:
        more = f" and {len(holding) - _NAMED} more" if len(holding) > _NAMED else ""
        yield Verdict(
            gate=WRITERS,
            outcome=Outcome.FAIL,
            measured=f"from outside: {', '.join(holding[:_NAMED])}{more}",
            cure=f"strangler fence report {facts.capability} tells what to do about each",
        )
        return
    seen = f"observed for {duration(found.seconds)}, {found.statements:,} statements of {len(found.writers)} writers"
    if unknown and not facts.unobserved:
        cure = f"strangler fence observe {facts.capability}, and wait for some days; or say --unobserved"
        yield Verdict(gate=WRITERS, outcome=Outcome.INCONCLUSIVE, measured=unknown, cure=cure)
    elif unknown:
        yield Verdict(gate=WRITERS, outcome=Outcome.PASS, measured=f"{unknown}, which --unobserved allows")
    else:
        yield Verdict(gate=WRITERS, outcome=Outcome.PASS, measured=f"{seen}, none from outside that is not dealt with")


_NEVER: Final = "nobody has looked at who writes these tables"


def lacking(found: Report) -> str:
    """Return why it is not known who writes, "" where it is."""
    observation = found.observation
    if observation is None or observation.stack is not Stack.MONOLITH:
        return _NEVER
    if found.seconds < OBSERVED_S:
        return (
            f"who writes these tables was observed for {duration(found.seconds)}, and {duration(OBSERVED_S)} are wanted"
        )
    ago = 0.0 if observation.ended_at is None else (observation.now - observation.ended_at).total_seconds()
    if ago > STALE_S:
        return f"who writes these tables was observed {duration(ago)} ago, and others may write them now"
    return ""


def _locks(facts: Facts) -> Iterator[Verdict]:
    for stack, found in facts.blockers.items():
        gate = f"locks at the {stack}"
        # Autovacuum is kept away before anybody waits, and gives way to who does so.
        staying = [each for each in found if each.kind is not Kind.AUTOVACUUM]
        if staying:
            cure = "; ".join(each.cure for each in staying)
            measured = "; ".join(str(each) for each in staying)
            yield Verdict(gate=gate, outcome=Outcome.FAIL, measured=measured, cure=f"let it end, or: {cure}")
        else:
            yield Verdict(gate=gate, outcome=Outcome.PASS, measured="nobody who stays")


def proxies(workers: Sequence[Worker], version: int) -> Verdict:
    """Return whether every live worker routes by the newest table."""
    live = [each for each in workers if each.age <= LIVE_S]
    behind = late(live, version)
    if behind:
        names = ", ".join(each.about or each.id for each in behind)
        return Verdict(
            gate="proxies",
            outcome=Outcome.FAIL,
            measured=f"{len(behind)} of {len(live)} workers do not route by version {version}: {names}",
            cure="see strangler status",
        )
    measured = f"{len(live)} workers route by version {version}"
    return Verdict(gate="proxies", outcome=Outcome.PASS, measured=measured)
