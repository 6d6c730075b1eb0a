"""What a stream would lose or do twice is found: by its own checks, or by verify."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from strangler.sync import filling
from strangler.sync.applying import Applier, Load
from strangler.sync.intake import Intake
from strangler.sync.pgoutput import Begin, Event, Relation
from strangler.sync.verify import TableVerdict, Verifying, verify
from tests.fixtures.streams import Pair, Paired, project_of, table
from tests.fixtures.twice import twice, watch
from tests.fixtures.waiting import until

THING = "create table thing (id bigint primary key, version bigint, body text)"
MAPPING = table("thing", "thing", {"id": "id"}, {"version": "version", "body": "body"}, reverse={"version": "version"})
ALL = "select * from thing order by id"
ROWS = 50
Verify = Callable[[], TableVerdict]


@pytest.fixture
def shop(pair: Paired) -> Pair:
    """A stream that has applied some rows, and is stopped."""
    found = pair(THING, THING, MAPPING)
    found.source("alter table thing alter column body set storage external")
    watch(found, "thing", "id")
    found.start()
    found.source(f"insert into thing select n, n, 'b' from generate_series(1, {ROWS}) n")
    found.equal(ALL, ALL)
    found.stop()
    return found


@pytest.fixture
def verified(shop: Pair, tmp_path: Path) -> Verify:
    def compare() -> TableVerdict:
        filling.catch_up(shop.forward)
        asked = Verifying(capability=shop.forward.capability, settle=lambda: None)  # nothing is in flight any more
        steps = verify(asked, project_of(shop, tmp_path))
        while True:
            try:
                next(steps)
            except StopIteration as end:
                [found] = end.value.tables
                assert isinstance(found, TableVerdict)
                return found

    return compare


def counted(found: TableVerdict) -> tuple[int, int, int]:
    return found.missing, found.extra, found.differing


# --- what is lost ---


@dataclass
class Losing:
    """Takes a stream's events, and swallows those of some transactions."""

    xids: set[int]
    take: Callable[[Intake, Event], None]
    inside: bool = False

    def __call__(self, intake: Intake, event: Event) -> None:
        if isinstance(event, Begin):
            self.inside = event.xid in self.xids
        if isinstance(event, Relation) or not self.inside:
            self.take(intake, event)


def lose(monkeypatch: pytest.MonkeyPatch, shop: Pair, *statements: str) -> None:
    """Execute statements in the source, each in a transaction of its own that is swallowed when it comes."""
    xids = {int(shop.source(each, "select pg_current_xact_id()::text")[0][0]) for each in statements}
    losing = Losing(xids, Intake.take)
    monkeypatch.setattr(Intake, "take", lambda self, event: losing(self, event))


def test_transactions_that_are_lost_are_found(shop: Pair, verified: Verify, monkeypatch: pytest.MonkeyPatch) -> None:
    lose(
        monkeypatch,
        shop,
        "insert into thing values (98, 98, 'x'), (99, 99, 'x')",
        "update thing set version = -1 where id = 7",
        "update thing set id = 77 where id = 8",
        "delete from thing where id > 40 and id <= 50",
    )
    shop.start()
    shop.source("insert into thing values (1000, 1000, 'after')")
    found = verified()
    assert (found.equal, counted(found)) == (False, (2 + 1, 1 + 10, 1))
    shop.stop()


def test_a_truncate_that_is_lost_is_found(shop: Pair, verified: Verify, monkeypatch: pytest.MonkeyPatch) -> None:
    lose(monkeypatch, shop, "truncate thing")
    shop.start()
    shop.source("insert into thing values (1000, 1000, 'after')")
    found = verified()
    assert (found.equal, counted(found)) == (False, (0, ROWS, 0))
    shop.stop()


def test_a_row_that_was_lost_stops_the_stream_when_it_changes(shop: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    lose(monkeypatch, shop, "insert into thing values (99, 99, repeat('x', 10000))")
    shop.source("update thing set version = 100 where id = 99")
    shop.keep()
    until(lambda: shop.target("select stopped from strangler_sync.stream") != [(None,)], "it is stopped", 20)
    [(why,)] = shop.target("select stopped from strangler_sync.stream")
    assert why.startswith("1 rows that changed in thing are not in thing: somebody else wrote there, or rows were lost")
    shop.stop()


# --- what is done twice ---


def test_a_batch_that_is_applied_again_later_is_found(
    shop: Pair, verified: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has is older than the rows by then."""
    apply, loads = Applier.apply, list[Load]()

    def apply_first_again(self: Applier, load: Load, *, whole: bool = False) -> None:
        apply(self, load, whole=whole)
        if load.tables:
            loads.append(load)
            if len(loads) == 2:
                apply(self, loads[0])

    monkeypatch.setattr(Applier, "apply", apply_first_again)
    shop.start()
    shop.source("update thing set version = 101 where id = 7", "update thing set version = 102 where id = 8")
    assert verified().equal
    shop.source("update thing set version = 103 where id = 7", "delete from thing where id = 8")
    found = verified()
    assert (found.equal, counted(found)) == (False, (0, 1, 1))
    assert twice(shop) == [("(7)", 101, 2), ("(8)", 102, 2)]
    shop.stop()


def test_a_batch_that_is_committed_again_is_refused(
    shop: Pair, verified: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, again = Applier.commit, list[Load]()

    def commit_twice(self: Applier, load: Load, *, durable: bool = True) -> None:
        at = self.at
        commit(self, load, durable=durable)
        if load.tables and not again:
            again.append(load)
            self.at = at
            commit(self, load, durable=durable)

    monkeypatch.setattr(Applier, "commit", commit_twice)
    shop.keep()
    shop.source("update thing set version = version + 1000")
    shop.equal(ALL, ALL)
    until(lambda: shop.told, "it is refused")
    assert "another process has applied to it" in shop.told[0]
    assert verified().equal
    assert twice(shop) == []
    shop.stop()
