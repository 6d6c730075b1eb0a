from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from strangler.capability import Data, Move, Phase, Stack, Stage, State
from strangler.cutover.gates import Compared, Facts, Outcome, passes, verdicts
from strangler.ledger import Worker
from strangler.sync.blocking import Blocker, Kind
from strangler.sync.direction import Way
from strangler.sync.fence import Claim
from strangler.sync.observations import Observation
from strangler.sync.observed import Both, Count, Times, Writer
from strangler.sync.observed import Kind as Source
from strangler.sync.status import Status
from strangler.sync.writers import Found, FoundBoth, Place, Report

SHADOW = State(stage=Stage.SHADOW, data=Data.STREAMED, epoch=7)
FOLLOWS = Status(way=Way.FORWARD, begun=True, running=True, lag_s=0.4, lag_bytes=120)


def claim(epoch: int, *, raised: bool) -> Claim:
    raised_on = epoch if raised else None
    return Claim(capability="books", epoch=epoch, owner=Stack.MONOLITH, raised_on=raised_on, observing=False)


NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
OBSERVED = Observation(
    id=1,
    stack=Stack.MONOLITH,
    who="ann",
    reason="trying",
    began_at=NOW - timedelta(days=8),
    until=NOW - timedelta(days=1),
    ended_at=NOW - timedelta(days=1),
    why="its time was over",
    on_at=NOW - timedelta(days=1),
    gaps=1,
    missed_s=3_600,
    now=NOW,
)


def seen(place: Place, name: str = "psql") -> Found:
    count = Count(number=7, first_at=NOW, last_at=NOW, tables=frozenset(), operations=frozenset(), sample="")
    return Found(writer=Writer(kind=Source.APPLICATION, name=name, role="shop"), count=count, place=place)


def both(place: Place) -> FoundBoth:
    own = Writer(kind=Source.ROUTE, name="POST /books/", role="shop")
    pair = Both(own=own, other="orders", others=own)
    return FoundBoth(both=pair, times=Times(number=2, first_at=NOW, last_at=NOW), place=place)


def observed(**changed: Any) -> Report:
    return Report(capability="books", observation=replace(OBSERVED, **changed))


FACTS = Facts(
    capability="books",
    state=SHADOW,
    ahead=FOLLOWS,
    back=replace(FOLLOWS, way=Way.REVERSE),
    compared=Compared(equal=True, age_s=30, changed=12),
    workers=(Worker(id="a", version=5, age=0.2, about="host 1"),),
    version=5,
    claims={Stack.MONOLITH: claim(3, raised=False), Stack.SERVICE: claim(3, raised=True)},
    drift=(),
    blockers={Stack.MONOLITH: (), Stack.SERVICE: ()},
    writers=Report(capability="books", observation=OBSERVED, writers=(seen(Place.INSIDE), seen(Place.ALLOWED))),
)


def test_what_is_urgent_is_held_up_by_what_would_lose_something_alone() -> None:
    late = replace(FOLLOWS, lag_s=90.0, lag_bytes=1 << 30)
    uncomfortable = replace(
        FACTS,
        ahead=late,
        back=Status(way=Way.REVERSE),
        version=6,
        blockers={Stack.MONOLITH: (blocker(Kind.PREPARED),), Stack.SERVICE: ()},
    )
    assert passes(verdicts(uncomfortable, urgent=True))
    failing = {each.gate for each in verdicts(uncomfortable) if not passes([each])}
    assert failing == {"stream", "way back", "locks at the monolith", "proxies"}
    for gate, harm in {
        "stream": replace(FACTS, ahead=replace(late, running=False)),
        "verify": replace(FACTS, compared=Compared(equal=False, age_s=1.0)),
        "fence": replace(FACTS, drift=("book was altered",)),
        "ledger": replace(FACTS, claims={**FACTS.claims, Stack.MONOLITH: claim(9, raised=False)}),
        "state": replace(FACTS, state=State(epoch=7)),
    }.items():
        assert [each.gate for each in verdicts(harm, urgent=True) if not passes([each])] == [gate]


def blocker(kind: Kind) -> Blocker:
    return Blocker(
        kind=kind,
        tables=("book",),
        pid=4711,
        gid=None,
        user="ann",
        application="night job",
        open_s=90.0,
        query=None,
        transaction="1/2",
    )


def test_where_everything_holds_every_gate_passes_and_tells_what_was_measured() -> None:
    found = verdicts(FACTS)
    assert passes(found)
    assert {each.gate: each.measured for each in found} == {
        "state": "stage shadow, owner monolith, epoch 7",
        "stream": "0.4 s and 120 bytes behind",
        "way back": "0.4 s and 120 bytes behind",
        "verify": "all rows compared 30 s ago, equal; 12 keys changed since",
        "ledger": "epoch 7, and the databases at no later one",
        "fence": "the service is fenced as it was when it was raised",
        "writers": "observed for 6 d 23 h, 14 statements of 2 writers, none from outside that is not dealt with",
        "locks at the monolith": "nobody who stays",
        "locks at the service": "nobody who stays",
        "proxies": "1 workers route by version 5",
    }
    assert not any(each.cure for each in found)


@pytest.mark.parametrize(
    ("change", "gate", "outcome", "told"),
    [
        ({"state": replace(SHADOW, killed="smoke")}, "state", Outcome.FAIL, "it is killed (smoke)"),
        ({"ahead": replace(FOLLOWS, running=False)}, "stream", Outcome.FAIL, "nobody applies it"),
        ({"ahead": replace(FOLLOWS, lag_s=None)}, "stream", Outcome.INCONCLUSIVE, "no heartbeat has come yet"),
        ({"ahead": replace(FOLLOWS, lag_bytes=17 << 20)}, "stream", Outcome.FAIL, "wait until it is at most 3 s"),
        ({"back": replace(FOLLOWS, lag_s=3.1)}, "way back", Outcome.FAIL, "3.1 s and 120 bytes behind"),
        ({"back": replace(FOLLOWS, problem="it was given up")}, "way back", Outcome.FAIL, "it was given up"),
        ({"compared": Compared(equal=None, why="never")}, "verify", Outcome.INCONCLUSIVE, "never"),
        ({"compared": Compared(equal=False, age_s=9)}, "verify", Outcome.FAIL, "strangler sync repair books, then"),
        (
            {"compared": Compared(equal=True, age_s=9, changed=50_001)},
            "verify",
            Outcome.FAIL,
            "50,001 keys have changed",
        ),
        (
            {"claims": {**FACTS.claims, Stack.SERVICE: claim(8, raised=True)}},
            "ledger",
            Outcome.FAIL,
            "epoch 7, and yet the service's database stands at epoch 8",
        ),
        (
            {"claims": {Stack.MONOLITH: claim(3, raised=True), Stack.SERVICE: claim(3, raised=True)}},
            "ledger",
            Outcome.FAIL,
            "epoch 7, and yet the monolith, which owns by the ledger, is fenced",
        ),
        (
            {"claims": {**FACTS.claims, Stack.MONOLITH: None}},
            "ledger",
            Outcome.FAIL,
            "there is no fence in the database of the monolith",
        ),
        (
            {"claims": {**FACTS.claims, Stack.SERVICE: claim(3, raised=False)}},
            "fence",
            Outcome.FAIL,
            "the service is not fenced, and others may write there",
        ),
        ({"drift": ("book is called tome now",)}, "fence", Outcome.FAIL, "the service: book is called tome now"),
        (
            {"blockers": {Stack.MONOLITH: (blocker(Kind.WRITER),)}},
            "locks at the monolith",
            Outcome.FAIL,
            "let it end, or: select pg_terminate_backend(4711)",
        ),
        ({"version": 6}, "proxies", Outcome.FAIL, "1 of 1 workers do not route by version 6: host 1"),
    ],
)
def test_what_does_not_hold_is_told_with_the_way_on(
    change: dict[str, Any], gate: str, outcome: Outcome, told: str
) -> None:
    failing = [each for each in verdicts(replace(FACTS, **change)) if not passes([each])]
    assert [(each.gate, each.outcome) for each in failing] == [(gate, outcome)]
    assert told in f"{failing[0].measured} → {failing[0].cure}"


def test_autovacuum_gives_way_and_a_worker_that_fell_silent_is_not_waited_for() -> None:
    silent = Worker(id="b", version=1, age=9.0, about="host 2")
    facts = replace(FACTS, blockers={Stack.MONOLITH: (blocker(Kind.AUTOVACUUM),)}, workers=(*FACTS.workers, silent))
    assert passes(verdicts(facts))


def test_who_moves_already_is_not_told_that_the_ledger_is_old() -> None:
    moving = replace(SHADOW, move=Move(epoch=7, source=Stack.MONOLITH, phase=Phase.PREPARED))
    raised = {Stack.MONOLITH: claim(7, raised=True), Stack.SERVICE: claim(7, raised=True)}
    failing = [each.gate for each in verdicts(replace(FACTS, state=moving, claims=raised)) if not passes([each])]
    assert failing == ["state"]


NEVER = "nobody has looked at who writes these tables"
SHORT = "who writes these tables was observed for 22 h, and 1 d are wanted"
LONG_AGO = "who writes these tables was observed 31 d ago, and others may write them now"


@pytest.mark.parametrize(
    ("writers", "told"),
    [
        (Report(capability="books"), NEVER),
        # Who wrote at the service, while that was the owner, is nobody who would meet the fence now.
        (replace(observed(stack=Stack.SERVICE), writers=[seen(Place.OUTSIDE)]), NEVER),
        (observed(began_at=NOW - timedelta(hours=47)), SHORT),
        (observed(began_at=NOW - timedelta(days=90), ended_at=NOW - timedelta(days=31)), LONG_AGO),
    ],
)
def test_an_owner_stays_until_somebody_has_looked_at_who_writes_or_said_that_nobody_need(
    writers: Report, told: str
) -> None:
    facts = replace(FACTS, writers=writers)
    [found] = [each for each in verdicts(facts) if each.gate == "writers"]
    assert (found.outcome, found.measured) == (Outcome.INCONCLUSIVE, told)
    assert "strangler fence observe books" in found.cure
    assert not passes(verdicts(facts))
    [said] = [each for each in verdicts(replace(facts, unobserved=True)) if each.gate == "writers"]
    assert (said.outcome, said.measured) == (Outcome.PASS, f"{told}, which --unobserved allows")


@pytest.mark.parametrize("unobserved", [False, True])
def test_an_owner_stays_while_somebody_from_outside_writes_whoever_says_what(unobserved: bool) -> None:
    outside = [seen(Place.OUTSIDE, f"cron {number}") for number in range(5)]
    writers = replace(FACTS.writers, writers=[*outside, seen(Place.EARLIER)], both=[both(Place.OUTSIDE)])
    facts = replace(FACTS, writers=writers, unobserved=unobserved)
    [found] = [each for each in verdicts(facts) if each.gate == "writers"]
    names = ", ".join(f"application:cron {number} (shop)" for number in range(5))
    assert (found.outcome, found.measured) == (Outcome.FAIL, f"from outside: {names} and 1 more")
    assert found.cure == "strangler fence report books tells what to do about each"
    alone = replace(facts, writers=replace(writers, writers=[]))
    assert "from outside: route:POST /books/ together with orders" in str(verdicts(alone))


def test_who_goes_back_need_not_have_looked_at_anybody() -> None:
    owned = replace(SHADOW, stage=Stage.SERVICE, owner=Stack.SERVICE, share=10_000)
    found = verdicts(replace(FACTS, state=owned, writers=Report(capability="books")))
    assert "writers" not in [each.gate for each in found]


def test_rows_that_the_monolith_has_otherwise_are_mended_there_before_one_goes_back() -> None:
    owned = replace(SHADOW, stage=Stage.SERVICE, owner=Stack.SERVICE, share=10_000)
    facts = replace(FACTS, state=owned, compared=Compared(equal=False, age_s=9))
    [found] = [each for each in verdicts(facts) if each.gate == "verify"]
    refill = "make them in the monolith what the service has: strangler sync refill books"
    assert found.cure == f"{refill}, then strangler sync verify books"


def test_a_gap_that_is_open_counts_until_now() -> None:
    going = observed(ended_at=None, until=NOW, on_at=NOW - timedelta(hours=2), missed_s=0.0)
    assert (going.missed_s, replace(going, is_on=True).missed_s) == (7_200, 0)
    assert going.seconds == 8 * 86_400 - 7_200
