from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from strangler.sync.direction import Way
from strangler.sync.metrics import families
from strangler.sync.plan import Progress
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
    assert [samples[name, "books", "forward"] for name in ("lag_bytes", "kept_bytes", "changes")] == [7, 9, 3]
    assert (samples["copy_rows", "books"], samples["copied_rows", "books"]) == (40, 20)
    assert ("lag_bytes", "toys", "forward") not in samples
    assert ("copy_rows", "toys") not in samples


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
    assert found == told
