"""What comes next in situations that have a rule of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from strangler.capability import WHOLE, Data, Move, Phase, Stack, Stage, State
from strangler.cutover.gates import Outcome, Verdict
from strangler.playbook import Facts, Measured, Recorded, Unseen, playbook
from strangler.sync.direction import Way
from strangler.sync.refilling import hold_words
from strangler.sync.status import Status, Sync
from strangler.sync.writers import Report
from tests.fixtures.playbooks import FOLLOWING, NOW, healthy, observation, proposal

FRESH = State()
SNAPSHOT = State(stage=Stage.CANARY, share=100, data=Data.SNAPSHOT, data_at=NOW, cohorts={"beta": Stack.SERVICE})
SYNCING = State(stage=Stage.SYNCING, killed="smoke")
SHADOW = State(stage=Stage.SHADOW, data=Data.STREAMED)
CANARY = replace(SHADOW, stage=Stage.CANARY, share=WHOLE)
SERVICE = State(epoch=9, stage=Stage.SERVICE, owner=Stack.SERVICE, share=WHOLE, data=Data.STREAMED)
RETIRED = replace(SERVICE, stage=Stage.RETIRED)
BARRED = State(move=Move(epoch=7, source=Stack.SERVICE, phase=Phase.BARRING))
FORCED = State(move=Move(epoch=7, source=Stack.SERVICE, phase=Phase.DONE))

NOT_SEEN = Verdict(gate="writers", outcome=Outcome.INCONCLUSIVE, measured="observed for 3 s, and 1 d are wanted")


def streams(**back: Any) -> Sync:
    """Return streams that follow, the one to the monolith with something else."""
    way_back: dict[str, Any] = {**FOLLOWING, **back}
    forward = Status(way=Way.FORWARD, **FOLLOWING)  # type: ignore[arg-type]
    return Sync(capability="books", forward=forward, back=Status(way=Way.REVERSE, **way_back), copy=None, tables={})


def proposed(state: State, **more: Any) -> Recorded:
    return Recorded(state=state, proposal=proposal(state.epoch, **more))


def measured(*verdicts: Verdict, **more: bool) -> Measured:
    return Measured(verdicts=verdicts, **more)


def observed(*, ended: bool) -> Report:
    return Report(capability="books", observation=observation(3.0, ended=ended))


KEPT = replace(streams(), forward=Status(way=Way.FORWARD))
LATE = Status(way=Way.FORWARD, **{**FOLLOWING, "lag_s": 50.0})  # type: ignore[arg-type]
SITUATIONS: Mapping[str, tuple[State, dict[str, Any], str]] = {
    "readers of a snapshot go back before a stream is begun": (SNAPSHOT, {}, "set books --reads 0% --cohort beta=off"),
    "a copy goes on though reads are latched": (SYNCING, {}, "sync backfill books --inline"),
    "where the service's tables hold rows they are emptied": (
        FRESH,
        {"measured": measured(replace(NOT_SEEN, outcome=Outcome.PASS), filled=True)},
        "sync start books --replace",
    ),
    "gates of a beginning that were not looked at": (FRESH, {"measured": Unseen("away")}, "sync check books"),
    "streams that were not looked at": (SHADOW, {"sync": Unseen("it hangs")}, "sync status books"),
    "a stream that is behind": (SHADOW, {"sync": replace(streams(), forward=LATE)}, "sync status books"),
    "a stream that has stopped, of which nobody reads": (
        SHADOW,
        {"sync": streams(problem="public.book (id = 7) cannot be applied")},
        "sync status books",
    ),
    "a stream that can never go on": (
        SHADOW,
        {"sync": streams(problem="slot s is gone: remove this sync and start it anew")},
        "sync remove books",
    ),
    "readers of a copy that has stopped": (CANARY, {"sync": streams(problem="it stopped")}, "kill books"),
    "nobody has looked at who writes": (SHADOW, {"writers": Report(capability="books")}, "fence observe books"),
    "writers are being looked at": (
        CANARY,
        {"writers": observed(ended=False), "measured": measured(NOT_SEEN)},
        "fence report books",
    ),
    "writers were looked at too shortly": (
        CANARY,
        {"writers": observed(ended=True), "measured": measured(NOT_SEEN)},
        "fence observe books",
    ),
    "gates of a move that were not looked at": (CANARY, {"measured": Unseen("it hangs")}, "cutover books --dry-run"),
    "too little is known of the rows, which the move itself compares": (
        CANARY,
        {"measured": measured(replace(NOT_SEEN, gate="verify"))},
        "cutover books --reason",
    ),
    "the rows are known to differ": (
        CANARY,
        {"measured": measured(replace(NOT_SEEN, gate="verify"), differs=True)},
        "sync verify books",
    ),
    "the way back of a service that owns has stopped": (
        SERVICE,
        {"sync": streams(problem="slot s is gone: remove this sync and start it anew")},
        "sync refill books",
    ),
    "the way back of a service that owns waits for a row": (
        SERVICE,
        {"sync": streams(problem="public.book (id = 7) cannot be applied")},
        "sync status books",
    ),
    "tables that somebody has begun to fill": (SHADOW, {"sync": streams(problem=hold_words("books"))}, "sync refill"),
    "somebody has proposed to retire it": (SERVICE, {"ledger": proposed(SERVICE)}, "retire books --confirm"),
    "what was proposed has expired": (SERVICE, {"ledger": proposed(SERVICE, left_s=-1.0)}, "retire books --reason"),
    "a copy that is kept": (RETIRED, {"sync": KEPT}, "sync remove books"),
    "a copy that is kept, and nobody applies": (
        RETIRED,
        {"sync": replace(KEPT, back=replace(KEPT.back, running=False))},
        "sync run",
    ),
    "what is left of the streams of a retired one": (RETIRED, {}, "retire books"),
    "a database that may come back unfenced": (BARRED, {"away": {Stack.SERVICE: "it is away"}}, "sync run"),
    "a database that has come back unfenced": (BARRED, {}, "resume books"),
    "a service that owns and whose database is away": (
        SERVICE,
        {"away": {Stack.SERVICE: "it is away"}},
        "rollback books --force --dry-run",
    ),
    "a monolith that owns and whose database is away": (
        CANARY,
        {"away": {Stack.MONOLITH: "it is away"}},
        "sync status books",
    ),
    "files that are not what is published": (
        replace(SHADOW, killed="smoke"),
        {"ledger": Recorded(state=SHADOW, same_files=False)},
        "publish",
    ),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_what_comes_next(situation: str) -> None:
    state, found, wanted = SITUATIONS[situation]
    step = playbook(replace(healthy(state), **found)).step
    assert step.typed is not None
    assert step.typed.line().startswith(f"strangler {wanted}")


def test_who_has_proposed_is_told_that_somebody_else_confirms() -> None:
    mine, other = (
        playbook(replace(healthy(SERVICE), ledger=proposed(SERVICE, who=who))).step.does for who in ("ann", "bob")
    )
    assert ("You are ann, and cannot" in mine, "You are" in other) == (True, False)


def test_what_stands_in_the_service_alone_is_told_before_its_tables_are_emptied() -> None:
    gate = replace(NOT_SEEN, outcome=Outcome.PASS)
    step = playbook(replace(healthy(FORCED), measured=measured(gate, filled=True))).step
    assert any("move-lost" in each for each in step.notes)


def test_cohorts_that_nobody_was_sent_by_may_go_first() -> None:
    others = playbook(replace(healthy(SHADOW), cohorts=("beta",))).step.others
    assert [each.typed.words for each in others] == [("set", "books", "--cohort", "beta=service")]


def test_going_back_is_by_force_where_the_way_back_is_broken_and_says_what_would_be_lost() -> None:
    back = playbook(replace(healthy(SERVICE), sync=streams(problem="it was given up", lag_s=37.0))).back
    assert back.typed is not None
    assert back.typed.words == ("rollback", "books", "--force", "--dry-run")
    assert back.lost == "what the monolith has not applied, of the last 37 s"


def test_a_kill_from_files_that_are_not_what_is_published_is_said_to_be_refused() -> None:
    found: Facts = replace(healthy(CANARY), ledger=Recorded(state=CANARY, same_files=False))
    assert "refused from here until they are" in playbook(found).back.says
