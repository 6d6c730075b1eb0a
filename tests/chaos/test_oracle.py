from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.chaos.cutover.oracle import (
    POSITIONS,
    Findings,
    Line,
    Purchase,
    Said,
    Side,
    judge,
    line_value,
    overlapping,
    said,
)
from tests.chaos.cutover.running import Report, note_told, percentiles
from tests.chaos.cutover.watching import Look, both_open

SHUT = ("purchase", "strangler_fence", "A", "7")
OPEN = ("purchase", "strangler_fence", "D", "8")


def purchase(number: int, value: int) -> Purchase:
    lines = tuple(Line(position=at, value=line_value(value, at)) for at in POSITIONS)
    return Purchase(number=number, ref=f"ref {number}", value=value, lines=lines)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Said, Side]:
    """Return what clients said, and what both sides hold when nothing went wrong."""
    values = draw(st.dictionaries(st.integers(1, 50), st.integers(1, 10_000), min_size=1, max_size=8))
    acknowledged = draw(st.sets(st.sampled_from(sorted(values))))
    there = acknowledged | draw(st.sets(st.sampled_from(sorted(values))))
    taken_back = draw(st.sets(st.sampled_from(sorted(values))))
    gone = {number for number in taken_back if number in acknowledged and draw(st.booleans())}
    there = (there - taken_back) | {number for number in taken_back & there - gone if draw(st.booleans())}
    counted = draw(st.dictionaries(st.integers(1, 4), st.integers(1, 100), max_size=4))
    beyond = {client: counter + draw(st.integers(0, 3)) for client, counter in counted.items()}
    words = Said(
        sent={f"ref {number}": value for number, value in values.items()},
        acknowledged={f"ref {number}" for number in acknowledged},
        taken_back={f"ref {number}" for number in taken_back},
        gone={f"ref {number}" for number in gone},
        counted=counted,
        counting=beyond,
    )
    accounts = {client: draw(st.integers(counter, beyond[client])) for client, counter in counted.items()}
    return words, Side(purchases=[purchase(number, values[number]) for number in sorted(there)], accounts=accounts)


def kinds(found: Findings) -> set[str]:
    return {name for name in found.__slots__ if getattr(found, name)}


@given(worlds())
def test_nothing_is_found_where_all_is_as_it_was_said(world: tuple[Said, Side]) -> None:
    words, side = world
    assert judge(words, {"monolith": side, "service": side}) == Findings()


@settings(max_examples=50)
@given(worlds(), st.data())
def test_each_harm_to_one_side_is_found_as_what_it_is(world: tuple[Said, Side], data: st.DataObject) -> None:
    words, side = world
    sure = words.acknowledged - words.taken_back
    assume(any(each.ref in sure for each in side.purchases))
    at = data.draw(st.sampled_from([n for n, each in enumerate(side.purchases) if each.ref in sure]), "which")
    before, one, after = side.purchases[:at], side.purchases[at], side.purchases[at + 1 :]
    harms: dict[str, tuple[list[Purchase], set[str]]] = {
        "gone": ([], {"lost", "different"}),
        "twice": ([one, replace(one, number=1_000)], {"doubled", "different"}),
        "other value": ([replace(one, value=one.value + 1)], {"lost", "different"}),
        "in part": ([replace(one, lines=one.lines[:1])], {"torn", "different"}),
        "line twice": ([replace(one, lines=(*one.lines, one.lines[-1]))], {"torn", "different"}),
        "never sent": ([one, replace(one, number=1_000, ref="ref of nobody")], {"strange", "different"}),
    }
    instead, expected = harms[data.draw(st.sampled_from(sorted(harms)), "harm")]
    harmed = replace(side, purchases=[*before, *instead, *after])
    sides = {"monolith": side, "service": harmed}
    if data.draw(st.booleans(), "the other way round"):
        sides = {"monolith": harmed, "service": side}
    assert kinds(judge(words, sides)) == expected
    both = kinds(judge(words, {"monolith": harmed, "service": harmed}))
    assert both == expected - {"different"}


@settings(max_examples=50)
@given(worlds(), st.data())
def test_an_account_that_went_back_is_lost(world: tuple[Said, Side], data: st.DataObject) -> None:
    words, side = world
    assume(words.counted)
    client = data.draw(st.sampled_from(sorted(words.counted)))
    late = replace(side, accounts={**side.accounts, client: words.counted[client] - 1})
    assert "lost" in kinds(judge(words, {"monolith": side, "service": late}))
    ahead = replace(side, accounts={**side.accounts, client: words.counting[client] + 1})
    assert "strange" in kinds(judge(words, {"monolith": side, "service": ahead}))


@settings(max_examples=50)
@given(worlds(), st.data())
def test_what_was_taken_back_and_is_there_is_lost(world: tuple[Said, Side], data: st.DataObject) -> None:
    words, side = world
    assume(words.gone)
    ref = data.draw(st.sampled_from(sorted(words.gone)))
    risen = replace(purchase(1_000, words.sent[ref]), ref=ref)
    harmed = replace(side, purchases=[*side.purchases, risen])
    found = judge(words, {"monolith": harmed, "service": harmed})
    assert found.lost == [f"{name}: {ref} was taken back, and is there" for name in ("monolith", "service")]


def test_what_was_written_twice_is_doubled_though_it_is_there_once() -> None:
    side = Side(purchases=[], accounts={}, repeated=["purchase 1 of 10"])
    assert judge(Said(), {"monolith": Side(purchases=[], accounts={}), "service": side}).doubled == [
        "service: purchase 1 of 10 was written more than once"
    ]


def test_words_are_taken_by_ref_and_by_the_highest_counter() -> None:
    lines: list[dict[str, Any]] = [
        {"what": "sent", "ref": "a", "client": 1, "value": 10},
        {"what": "acknowledged", "ref": "a", "client": 1, "value": 10, "stack": "monolith"},
        {"what": "sent", "ref": "b", "client": 1, "value": 11},
        {"what": "unknown", "ref": "b", "client": 1, "value": 11},
        {"what": "sent", "client": 1, "counter": 2},
        {"what": "acknowledged", "client": 1, "counter": 2, "stack": "monolith"},
        {"what": "sent", "client": 1, "counter": 3},
        {"what": "stale", "why": "old"},
        {"what": "sent", "ref": "a", "client": 1, "back": True},
        {"what": "acknowledged", "ref": "a", "client": 1, "back": True, "stack": "service"},
        {"what": "sent", "ref": "b", "client": 1, "back": True},
    ]
    assert said(lines) == Said(
        sent={"a": 10, "b": 11},
        acknowledged={"a"},
        taken_back={"a", "b"},
        gone={"a"},
        counted={1: 2},
        counting={1: 3},
        acknowledgements=3,
    )


@given(st.lists(st.tuples(st.sampled_from(["monolith", "service"]), st.integers(1, 5)), min_size=1, max_size=10))
def test_sides_overlap_where_they_take_turns_more_often_than_the_owner_moved(turns: list[tuple[str, int]]) -> None:
    commits = [(float(number), side) for number, side in enumerate(side for side, times in turns for _ in range(times))]
    sides = [side for _, side in commits]
    changes = sum(one != other for one, other in pairwise(sides))
    assert overlapping(reversed(commits), changes) == []
    if changes:
        assert overlapping(commits, changes - 1)[0] == (
            f"the writing side changed {changes} times, and the owner moved {changes - 1} times"
        )


@pytest.mark.parametrize(
    ("before", "between", "after", "found"),
    [
        (OPEN, OPEN, OPEN, True),
        (OPEN, SHUT, OPEN, False),
        (SHUT, OPEN, SHUT, False),
        (OPEN, OPEN, SHUT, False),
        (OPEN, OPEN, ("purchase", "strangler_fence", "D", "9"), False),  # it was shut meanwhile, perhaps
        (("purchase", None, None, None), OPEN, ("purchase", None, None, None), True),
    ],
)
def test_both_sides_were_open_where_one_was_so_before_and_after(
    before: tuple[str, str, str, str], between: tuple[str, str, str, str], after: tuple[str, str, str, str], found: bool
) -> None:
    looks = Look("monolith", (before,)), Look("service", (between,)), Look("monolith", (after,))
    assert both_open(*looks) is found


def test_what_clients_and_the_watch_tell_is_noted() -> None:
    lines: list[dict[str, Any]] = [
        {"what": "stale", "stack": "monolith", "wrote_at": "monolith"},
        {"what": "stale", "stack": "service", "wrote_at": "monolith"},
        {"what": "both open"},
        {"what": "looked", "times": 3},
    ]
    report = Report(seed=1)
    note_told(lines, report)
    assert {kind: len(told) for kind, told in report.found.items()} == {"stale_reads": 2, "both_open": 1, "broken": 0}
    assert (report.wrong, report.looks) == (["stale_reads", "both_open"], 3)


def test_percentiles_are_of_what_is_there() -> None:
    assert percentiles([]) == {}
    assert percentiles([3.0]) == {"p50": 3.0, "p99": 3.0, "max": 3.0}
    assert percentiles([float(each) for each in range(101)]) == {"p50": 50.0, "p99": 99.0, "max": 100.0}
