"""What a fence stands on, compared: with what it must be, and with what it was."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from strangler.sync.fenced import (
    ROWS,
    STATEMENT,
    TRUNCATE,
    Catalogue,
    Fires,
    Function,
    Table,
    Trigger,
    drift,
    faults,
    fenced,
    missing,
)

BODY = "begin end"
TYPES = {STATEMENT: 30, TRUNCATE: 34, ROWS: 31}


def trigger(name: str, oid: int = 1) -> Trigger:
    return Trigger(oid=oid, xid=7, type=TYPES[name], fires=Fires.ALWAYS, conditional=False)


def a_table(name: str, root: int | None, *triggers: str, **more: object) -> Table:
    base = Table(
        name=name,
        owner="shop",
        partitioned=False,
        partition=False,
        parent=None,
        root=root,
        storage=root or 0,
        columns={"id": "bigint"},
        triggers={each: trigger(each) for each in triggers},
    )
    return replace(base, **more)  # type: ignore[arg-type]


WHOLE = Catalogue(
    names={"book": 10, "event": 20},
    tables={
        10: a_table("public.book", 10, STATEMENT, TRUNCATE),
        20: a_table("public.event", 20, STATEMENT, TRUNCATE, ROWS, partitioned=True),
        21: a_table("public.event_1", 20, STATEMENT, TRUNCATE, ROWS, partition=True, parent=20),
    },
    function=Function(oid=5, xid=7, owner="sync", source=BODY, plain=True),
)


def test_what_is_kept_is_what_is_read_again() -> None:
    assert Catalogue.of_json(json.loads(json.dumps(WHOLE.to_json()))) == WHOLE
    gone = replace(WHOLE, names={"book": None}, tables={}, function=None)
    assert Catalogue.of_json(json.loads(json.dumps(gone.to_json()))) == gone


def test_a_whole_fence_has_no_fault_and_has_not_drifted() -> None:
    assert list(faults(WHOLE, BODY, Fires.ALWAYS)) == []
    assert list(drift(WHOLE, WHOLE)) == []
    assert missing(WHOLE) == {}
    assert list(fenced(WHOLE)) == [10, 20, 21]


def test_a_part_takes_the_trigger_for_rows_over_and_gets_the_others() -> None:
    part = a_table("public.event_2", 20, ROWS, partition=True, parent=20)
    found = replace(WHOLE, tables={**WHOLE.tables, 22: part})
    assert missing(found) == {22: (STATEMENT, TRUNCATE)}
    assert list(faults(found, BODY, Fires.ALWAYS)) == [
        f"public.event_2 has no trigger {STATEMENT}",
        f"public.event_2 has no trigger {TRUNCATE}",
    ]
    assert list(drift(WHOLE, found)) == ["public.event_2 was attached to public.event"]


def test_who_inherits_is_not_fenced_and_is_a_fault() -> None:
    child = a_table("public.child", 10, parent=10)
    found = replace(WHOLE, tables={**WHOLE.tables, 11: child})
    told = "public.child inherits from public.book, and no trigger sees what is written to it"
    assert list(fenced(found)) == [10, 20, 21]
    assert list(faults(found, BODY, Fires.ALWAYS)) == [told]
    assert list(drift(WHOLE, found)) == [told]


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (None, "the fence's function is gone"),
        (Function(oid=5, xid=7, owner="sync", source="begin return new; end", plain=True), "another one"),
        (Function(oid=5, xid=7, owner="sync", source=BODY, plain=False), "another one"),
    ],
)
def test_another_function_is_a_fault(function: Function | None, says: str) -> None:
    assert [says in each for each in faults(replace(WHOLE, function=function), BODY, Fires.ALWAYS)] == [True]


def test_a_trigger_that_does_not_fire_for_everybody_is_a_fault() -> None:
    for fires, told in ((Fires.NEVER, "disabled"), (Fires.ORIGIN, "not for replicas"), (Fires.REPLICA, "alone")):
        triggers = {STATEMENT: replace(trigger(STATEMENT), fires=fires), TRUNCATE: trigger(TRUNCATE)}
        found = replace(WHOLE, names={"book": 10}, tables={10: replace(WHOLE.tables[10], triggers=triggers)})
        assert [told in each for each in faults(found, BODY, Fires.ALWAYS)] == [True]
