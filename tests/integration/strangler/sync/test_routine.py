"""Comparisons that nobody asks for, beside the streams."""

from __future__ import annotations

from dataclasses import replace

import psycopg
from hypothesis import given
from hypothesis import strategies as st

from strangler.project import Sync
from strangler.sync import verdicts
from strangler.sync.routine import Routine, most_overdue
from tests.fixtures.books import Shop
from tests.fixtures.spoiling import spoil
from tests.fixtures.waiting import until


@given(st.dictionaries(st.sampled_from("abcde"), st.none() | st.floats(0, 1e6)), st.floats(60, 1e6))
def test_the_one_that_waits_longest_comes_first_and_none_before_its_time(
    ages: dict[str, float | None], interval: float
) -> None:
    found = most_overdue(ages, interval)
    due = {name for name, age in ages.items() if age is None or age >= interval}
    assert (found is None) == (not due)
    if found is not None:
        longest = ages[found]
        assert found in due
        assert longest is None or all((ages[name] or 0) <= longest and ages[name] is not None for name in due)


def test_rows_are_compared_once_an_interval_and_differences_told(shop: Shop) -> None:
    def look(interval: float, *, wanted: bool = True) -> list[str]:
        told = list[str]()
        setting = replace(shop.project, sync=Sync(verify_interval=interval))
        Routine(setting, told.append).look(lambda: wanted)
        return told

    def last() -> verdicts.Last:
        with psycopg.connect(shop.project.control.database.reveal()) as control:
            return verdicts.last(control, "books")

    shop("start")
    with shop.running():
        assert (look(60), last()) == ([], verdicts.NOTHING_KNOWN)  # nothing is copied yet
        shop("backfill", "--inline")
        first = last().whole
        assert first is not None
        until(lambda: shop.say("sync", "status")[0] == 0, "the stream follows")
        spoil(shop.pair, "update book set title = 'wrong' where id = 7")
        for told in (look(0), look(3600), look(0.001, wanted=False)):
            assert (told, last().whole and last().whole.at) == ([], first.at)  # type: ignore[union-attr]
        assert look(0.001) == ["books is not equal, rows that differ: 1; see strangler sync verify books"]
        found = last().whole
        assert found is not None
        assert (found.equal, found.differing, found.part) == (False, 1, None)
    assert look(0.001) == []  # nobody applies: what is on its way would look like a difference
