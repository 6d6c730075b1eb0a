from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from strangler.capability import Stack
from strangler.ledger.lasting import Lasting
from strangler.sync.direction import Way
from strangler.sync.fence import Claim
from strangler.sync.holding import Held, Holder
from strangler.sync.metrics import families
from strangler.sync.plan import Progress
from strangler.sync.reacting import Reacting
from strangler.sync.status import Status, Sync
from strangler.sync.verdicts import Kept, Last


def test_what_is_not_known_has_no_sample() -> None:
    forward = Status(way=Way.FORWARD, begun=True, running=True, lag_s=0.5, lag_bytes=7, kept_bytes=9, changes=3)
    copy = Progress(run=1, chunks=2, chunks_done=1, rows=40, rows_done=20, rows_before=0, seconds=1)
    found = [
        Sync(capability="books", forward=forward, back=Status(way=Way.REVERSE, problem="away"), copy=copy, tables={}),
        Sync(capability="toys", forward=Status(way=Way.FORWARD), back=Status(way=Way.REVERSE), copy=None, tables={}),
    ]
    samples = {
        (sample.name.removeprefix("strangler_sync_"), *sample.labels.values()): sample.value
        for family in families(found)
        for sample in family.samples
    }
    assert samples["follows", "books", "forward"] == 1
    assert samples["stopped", "books", "reverse"] == 1
    assert (samples["begun", "books", "forward"], samples["begun", "toys", "forward"]) == (1, 0)
    assert ("begun", "books", "reverse") not in samples, "nobody can look whether it was"
    assert [samples[name, "books", "forward"] for name in ("lag_bytes", "kept_bytes", "changes")] == [7, 9, 3]
    assert (samples["copy_rows", "books"], samples["copied_rows", "books"]) == (40, 20)
    assert ("lag_bytes", "toys", "forward") not in samples
    assert ("copy_rows", "toys") not in samples


def test_a_fence_is_told_of_where_it_is_known() -> None:
    ways = Status(way=Way.FORWARD), Status(way=Way.REVERSE)
    raised = Claim(capability="books", epoch=7, owner=Stack.MONOLITH, raised_on=7, observing=False)
    fences = {Stack.MONOLITH: replace(raised, raised_on=None, observing=True), Stack.SERVICE: raised}
    sync = Sync(capability="books", forward=ways[0], back=ways[1], copy=None, tables={}, fences=fences)
    away = Sync(capability="toys", forward=ways[0], back=ways[1], copy=None, tables={})
    samples = {
        (sample.name.removeprefix("strangler_sync_"), *sample.labels.values()): sample.value
        for family in families([sync, away])
        for sample in family.samples
        if "fence" in sample.name
    }
    assert samples == {
        ("fence_raised", "books", "monolith"): 0,
        ("fence_raised", "books", "service"): 1,
        ("fence_observing", "books", "monolith"): 1,
        ("fence_observing", "books", "service"): 0,
    }


EQUAL = Kept(at=datetime.now(UTC), age_s=60, part=None, equal=True, rows=9, differing=0, seconds=0.1)
DIFFERENT = replace(EQUAL, equal=False, differing=1)


@pytest.mark.parametrize(
    ("last", "told"),
    [
        (Last(), {}),
        (Last(whole=EQUAL), {"verify_age_seconds": 60, "verify_equal": 1}),
        (Last(whole=DIFFERENT), {"verify_age_seconds": 60, "verify_equal": 0}),
        (Last(whole=EQUAL, part=DIFFERENT), {"verify_age_seconds": 60, "verify_equal": 0}),
        (Last(whole=DIFFERENT, part=EQUAL), {"verify_age_seconds": 60, "verify_equal": 0}),
        (Last(part=EQUAL), {}),
    ],
)
def test_a_part_that_is_equal_proves_nothing_of_the_rest(last: Last, told: dict[str, float]) -> None:
    ways = Status(way=Way.FORWARD), Status(way=Way.REVERSE)
    sync = Sync(capability="books", forward=ways[0], back=ways[1], copy=None, tables={}, verified=last)
    samples = {sample.name: sample.value for family in families([sync]) for sample in family.samples}
    found = {name.removeprefix("strangler_sync_"): value for name, value in samples.items() if "verify" in name}
    wanted = ("verify_age_seconds", "verify_equal")
    assert {name: found[name] for name in wanted if name in found} == told


@pytest.mark.parametrize(
    ("lasting", "told"),
    [
        (None, {}),
        (Lasting(), {"moving_seconds": 0, "unfenced_seconds": 0}),
        (Lasting(moving_s=61.5), {"moving_seconds": 61.5, "unfenced_seconds": 0}),
    ],
)
def test_a_move_is_told_of_where_the_ledger_can_be_asked(lasting: Lasting | None, told: dict[str, float]) -> None:
    ways = Status(way=Way.FORWARD), Status(way=Way.REVERSE)
    sync = Sync(capability="books", forward=ways[0], back=ways[1], copy=None, tables={}, lasting=lasting)
    names = ("moving_seconds", "unfenced_seconds")
    assert {
        sample.name.removeprefix("strangler_sync_"): sample.value
        for family in families([sync])
        for sample in family.samples
        if sample.name.endswith(names)
    } == told


NUMBERS = {
    "begun": "begun",
    "copying": "copying",
    "follows": "follows",
    "running": "running",
    "lag_bytes": "lag_bytes",
    "lag_s": "lag_seconds",
    "lag_transactions": "lag_transactions",
    "transactions": "transactions",
    "changes": "changes",
    "kept_bytes": "kept_bytes",
    "reactions..waiting": "reaction_waiting",
    "reactions..oldest_s": "reaction_lag_seconds",
    "reactions..tries": "reaction_tries",
    "held.count": "held_transactions",
    "held.oldest_s": "held_seconds",
    "copy.rows": "copy_rows",
    "copy.rows_done": "copied_rows",
    "verified.age_s": "verify_age_seconds",
    "verified.equal": "verify_equal",
    "verified.rows": "verify_rows",
    "verified.differing": "verify_differing_rows",
    "verified.seconds": "verify_took_seconds",
    "moving_s": "moving_seconds",
    "unfenced_s": "unfenced_seconds",
    "tables.book.source_rows": "source_rows_estimate",
    "tables.book.target_rows": "target_rows_estimate",
}
# What is of one moment's interest: single transactions, and a comparison of rows that somebody has chosen.
ALONE = ("held.by.", "reactions..change", "verified_in_part.", "tables.book.estimated")


def numbers(value: object, path: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from numbers(each, f"{path}.{name}" if path else name)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for each in value:
            yield from numbers(each, f"{path}.")
    elif isinstance(value, int | float):
        yield path, value


def test_every_number_of_the_status_is_a_metric_with_the_same_value() -> None:
    holder = Holder(
        xid=7, pid=4, gid=None, database="shop", user="", application="", open_s=61.5, state="active", query=""
    )
    forward = Status(
        way=Way.FORWARD,
        begun=True,
        copying=True,
        running=True,
        lag_s=0.5,
        lag_bytes=7,
        lag_transactions=2,
        kept_bytes=9,
        transactions=4,
        changes=3,
        held=Held(count=1, by=(holder,)),
        reactions=(Reacting(name="shelf", waiting=5, oldest_s=4.5, tries=6, trouble="ValueError", change=9),),
    )
    sync = Sync(
        capability="books",
        forward=forward,
        back=Status(way=Way.REVERSE),
        copy=Progress(run=1, chunks=2, chunks_done=1, rows=40, rows_done=20, rows_before=0, seconds=1),
        tables={"book": (30, 20)},
        verified=Last(whole=EQUAL, part=replace(DIFFERENT, part="keys")),
        lasting=Lasting(moving_s=61.5, unfenced_s=9.5),
    )
    samples = {
        family.name.removeprefix("strangler_sync_"): sample.value
        for family in families([sync])
        for sample in family.samples
        if sample.labels.get("way") != "reverse"
    }
    told = sync.to_json()
    of_all = ("copy", "verified", "verified_in_part", "moving_s", "unfenced_s", "tables")
    found = dict(numbers({name: told[name] for name in of_all}))
    found |= dict(numbers(told["forward"]))
    wanted = {path: value for path, value in found.items() if not path.startswith(ALONE)}
    assert set(wanted) == set(NUMBERS)
    samples["verify_equal"] = 1.0  # the metric also heeds the comparison of some rows
    assert {path: samples[NUMBERS[path]] for path in wanted} == wanted
    assert set(NUMBERS.values()) | {"stopped"} == set(samples)
