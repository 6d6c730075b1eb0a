from __future__ import annotations

from strangler.sync.lost import Lost, gathered
from strangler.sync.pgoutput import (
    Begin,
    Column,
    Commit,
    Delete,
    Event,
    Insert,
    Origin,
    Relation,
    Truncate,
    Update,
)

KEYS = {"book": ("id",), "shop.copy": ("shelf", "id")}
BOOK = Relation(None, 1, "public", "book", "d", (Column(False, "title", 25, -1), Column(True, "id", 20, -1)))
COPY = Relation(None, 2, "shop", "copy", "d", (Column(True, "id", 20, -1), Column(True, "shelf", 25, -1)))


def transaction(end: int, *events: Event, origin: bool = False) -> list[Event]:
    first: list[Event] = [Begin(end - 1, 0, 7), *([Origin(1, "pg_1")] if origin else [])]
    return [*first, BOOK, COPY, *events, Commit(end - 1, end, 0)]


def test_keys_are_told_of_what_commits_behind_the_watermark() -> None:
    """Applied is what ends at the watermark; what an applier wrote itself was the other side's."""
    found = gathered(
        [
            *transaction(90, Insert(None, 1, (b"applied", b"1"))),
            *transaction(100, Insert(None, 1, (b"applied, too", b"2"))),
            *transaction(110, Insert(None, 1, (b"new", b"3")), Update(None, 1, None, False, (b"changed", b"4"))),
            *transaction(120, Insert(None, 1, (b"came", b"5")), origin=True),
            *transaction(130),
            *transaction(
                140,
                Update(None, 1, (None, b"6"), True, (b"moved", b"7")),
                Delete(None, 1, (None, b"3"), True),
                Insert(None, 2, (b"8", b"left")),
                Truncate(None, (2,), False, False),
            ),
        ],
        KEYS,
        since=100,
    )
    assert found == Lost(
        since=100,
        keys={
            "book": frozenset({("3",), ("4",), ("6",), ("7",)}),
            "shop.copy": frozenset({("left", "8")}),
        },
        emptied=frozenset({"shop.copy"}),
        transactions=2,
    )
    assert str(found) == (
        "it wrote 5 keys that the monolith lacks, in 2 transactions (4 in book, 1 in shop.copy; emptied: shop.copy)"
    )
    assert found.to_json()["tables"]["book"] == {"keys": 4, "named": [["3"], ["4"], ["6"], ["7"]]}


def test_what_was_not_whole_is_not_told() -> None:
    assert gathered(transaction(110, Insert(None, 1, (b"open", b"1")))[:-1], KEYS, since=100) == Lost(since=100)
    assert str(Lost(since=100)) == "it wrote nothing that the monolith lacks"
    assert str(Lost(since=0, why="the slot is gone")).endswith("cannot be told: the slot is gone")
