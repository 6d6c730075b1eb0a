"""What somebody reads of the streams at night: whole sentences at any width, and nothing that the terminal obeys."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from rich.console import Console, Group

from strangler.capability import Data, Stack, Stage, State
from strangler.cli.streams import shown
from strangler.sync.direction import Way
from strangler.sync.holding import Held, Holder
from strangler.sync.plan import Progress
from strangler.sync.reacting import Reacting
from strangler.sync.status import Status, Sync
from strangler.sync.verdicts import Kept, Last

NIGHTLY = Holder(
    xid=7,
    pid=4711,
    gid=None,
    database="shop",
    user="shop",
    application="night job",
    open_s=2_710,
    state="idle in transaction",
    query="update catalog_product set rating = 4.5 where id = 7",
)
HELD = Held(count=3, by=(NIGHTLY, replace(NIGHTLY, pid=4712, open_s=None, state=None, query=None)), grant="grant it")
FORWARD = Status(
    way=Way.FORWARD,
    begun=True,
    running=True,
    lag_s=0.4,
    lag_bytes=123_456_789,
    lag_transactions=1_234_567,
    kept_bytes=987_654_321,
    changes=12_345_678,
    held=HELD,
)
BACK = replace(FORWARD, way=Way.REVERSE, lag_bytes=0, lag_transactions=2, changes=0, held=HELD)
CANARY = State(stage=Stage.CANARY, data=Data.STREAMED, share=500, cohorts={"beta": Stack.SERVICE})
SERVICE = State(stage=Stage.SERVICE, owner=Stack.SERVICE, share=10_000, data=Data.STREAMED)
VERDICT = Kept(at=datetime.now(UTC), age_s=11_000, part=None, equal=True, rows=48_210, differing=0, seconds=0.4)
SYNC = Sync(
    capability="reviews",
    forward=FORWARD,
    back=BACK,
    copy=None,
    tables={"review": (48_210, 48_210)},
    verified=Last(whole=VERDICT),
)


def screen(sync: Sync, state: State | None, width: int = 80) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(Group(*shown(sync, state)))
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


NARROW = """\
reviews  canary
                       behind         transactions     changes  WAL kept
forward   following  123.5 MB  0.4 s   ≤ 1,234,567  12,345,678  987.7 MB
way back  open            0 B  0.4 s           ≤ 2           0  987.7 MB
  going back loses nothing; 5 % of the reads and cohort beta would return to the
  monolith
  the monolith keeps WAL for process 4711 (shop, night job) in shop, open for 45
  min 10 s, idle in transaction: update catalog_product set rating = 4.5 where
  id = 7
  the monolith keeps WAL for process 4712 (shop, night job) in shop, since when
  is hidden
  and for 1 more
  to see what is hidden, run there: grant it
  verified 3 h ago: equal, 48,210 rows in 0.4 s
  rows, estimated, monolith | service: review 48,210 | 48,210"""


def test_a_narrow_terminal_has_it_all() -> None:
    assert screen(SYNC, CANARY) == NARROW


@pytest.mark.parametrize("width", [80, 120])
def test_no_number_is_cut(width: int) -> None:
    behind = replace(SYNC, forward=replace(FORWARD, running=False, lag_s=100_000.0))
    assert "…" not in screen(behind, CANARY, width)


def words(sync: Sync, state: State) -> str:
    return " ".join(screen(sync, state).split())


@pytest.mark.parametrize(
    ("reaction", "told"),
    [
        (Reacting(name="rating", waiting=0, oldest_s=None), "reaction rating: nothing waits"),
        (Reacting(name="rating", waiting=2, oldest_s=0.5), "reaction rating: 2 changes wait, the oldest for 0 s"),
        (
            Reacting(name="rating", waiting=1_200, oldest_s=3_700),
            "reaction rating: 1,200 changes wait, the oldest for 1 h 1 min; is manage.py strangler_react running?",
        ),
        (
            Reacting(name="rating", waiting=2, oldest_s=60, tries=4, trouble="OwnerUnreachable: gone", change=17),
            "reaction rating: 2 changes wait, the oldest for 1 min; change 17 failed 4 times: OwnerUnreachable: gone",
        ),
    ],
)
def test_what_waits_for_a_reaction_is_told(reaction: Reacting, told: str) -> None:
    assert told in words(replace(SYNC, back=replace(BACK, reactions=(reaction,))), SERVICE)


def test_what_going_back_would_cost_is_told() -> None:
    assert "going back loses nothing; 5 % of the reads and cohort beta would return to the monolith" in words(
        SYNC, CANARY
    )
    assert "going back loses nothing; no reads are with the service" in words(SYNC, State())
    pending = replace(SYNC, back=replace(BACK, lag_bytes=1_200, lag_s=0.4, lag_transactions=3))
    assert "the monolith has yet to apply 1.2 kB, 0.4 s, ≤ 3 transactions" in words(pending, SERVICE)
    late = replace(pending, back=replace(pending.back, lag_s=725.0))
    told = "going back would lose what the monolith has not applied: 1.2 kB, 12 min 5 s, ≤ 3 transactions"
    assert told in words(late, SERVICE)
    away = replace(SYNC, back=Status(way=Way.REVERSE, problem="away"))
    assert "has not applied: nobody knows how much" in words(away, SERVICE)
    never = replace(SYNC, back=Status(way=Way.REVERSE))
    assert "there is no way back: no stream leads to the monolith" in words(never, SERVICE)


def test_what_a_database_says_moves_no_cursor() -> None:
    broken = replace(SYNC, forward=replace(FORWARD, problem="\x1b[2Jgone [red]\u2028"))
    assert r"forward: \x1b[2Jgone [red]\u2028" in screen(broken, CANARY)


def test_a_copy_says_how_far_it_is() -> None:
    copy = Progress(run=1, chunks=4, chunks_done=1, rows=4_000, rows_done=1_000, rows_before=0, seconds=100)
    assert "copy: 1,000 of 4,000 rows, about 5 min left at its pace" in screen(replace(SYNC, copy=copy), CANARY)
