from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from strangler.capability import Data, Move, Phase, Stack, Stage, State
from strangler.cutover.gates import Compared, Facts, Outcome, passes, verdicts
from strangler.ledger import Worker
from strangler.sync.blocking import Blocker, Kind
from strangler.sync.direction import Way
from strangler.sync.fence import Claim
from strangler.sync.status import Status

SHADOW = State(stage=Stage.SHADOW, data=Data.STREAMED, epoch=7)
FOLLOWS = Status(way=Way.FORWARD, begun=True, running=True, lag_s=0.4, lag_bytes=120)


def claim(epoch: int, *, raised: bool) -> Claim:
    raised_on = epoch if raised else None
    return Claim(capability="books", epoch=epoch, owner=Stack.MONOLITH, raised_on=raised_on, observing=False)


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
)


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
