"""A stream that passes over what fetched rows have already ends where its source does."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import example, given, settings
from hypothesis import strategies as st

from strangler.sync.images import Changes, RowKey, filled
from strangler.sync.intake import PREFIX, Expected, Intake
from strangler.sync.pgoutput import (
    UNCHANGED,
    Begin,
    Column,
    Commit,
    Delete,
    Event,
    Insert,
    Message,
    Relation,
    Tuple,
    Update,
)

Table = dict[RowKey, Tuple]
KEYS = [b"1", b"2", b"3", b"4"]
TABLE = "public.book"
RELATION = Relation(
    None, 7, "public", "book", "d", tuple(Column(name == "id", name, 25, -1) for name in ("id", "plain", "long"))
)
keys = st.sampled_from(KEYS)
operations = st.one_of(
    st.tuples(st.just("put"), keys, st.sampled_from([b"a", b"b"])),
    st.tuples(st.just("touch"), keys, st.sampled_from([b"c", b"d"])),
    st.tuples(st.just("move"), keys, keys),
    st.tuples(st.just("delete"), keys),
)
lives = st.lists(st.lists(operations, min_size=1, max_size=4), max_size=8)


class Source:
    """A table, and what its stream says of each transaction."""

    def __init__(self) -> None:
        self.rows: Table = {}

    def do(self, verb: str, key: bytes, *more: bytes) -> list[Event]:
        known = self.rows.get((key,))
        match verb:
            case "put" if known is None:
                self.rows[(key,)] = row = (key, more[0], b"long " + more[0])
                return [Insert(None, 7, row)]
            case "touch" if known is not None:
                self.rows[(key,)] = (key, more[0], known[2])
                return [Update(None, 7, None, old_is_key=False, row=(key, more[0], UNCHANGED))]
            case "move" if known is not None and (more[0],) not in self.rows:
                del self.rows[(key,)]
                self.rows[(more[0],)] = (more[0], *known[1:])
                moved = (more[0], known[1], UNCHANGED)
                return [Update(None, 7, (key, None, None), old_is_key=True, row=moved)]
            case "delete" if known is not None:
                del self.rows[(key,)]
                return [Delete(None, 7, (key, None, None), old_is_key=True)]
        return []


def apply(changes: Changes, target: Table, wanting: set[RowKey]) -> None:
    """Do what the applier does; rows that come in part where there is none are to be fetched."""
    for key in changes.gone:
        target.pop(key, None)
    if changes.moved is not None:
        before, after = changes.moved
        row = target.pop(before, None)
        if row is not None:
            target[after] = (after[0], *row[1:])
    for key, row in changes.rows.items():
        known = target.get(key)
        if UNCHANGED not in row:
            target[key] = row
        elif known is not None:
            target[key] = filled(row, known)
        else:
            wanting.add(key)


@settings(max_examples=600)
@given(lives, st.integers(0, 8), st.integers(0, 8), st.sets(keys))
@example(
    [[("put", b"1", b"a"), ("put", b"2", b"b")], [("delete", b"2"), ("move", b"1", b"2")]], 1, 2, {b"1"}
)  # a row that leaves a fetched key arrives where another has just gone
def test_rows_of_a_later_time_end_as_the_source_does(
    life: list[list[tuple[str, bytes]]], passed: int, later: int, fetched: set[bytes]
) -> None:
    """The target is at ``passed``, but for the fetched rows, which are of ``later``, or not there by then."""
    source, moments, streams = Source(), list[Table]([{}]), list[list[Event]]()
    for transaction in life:
        streams.append([event for operation in transaction for event in source.do(*operation)])
        moments.append(dict(source.rows))
    passed = min(passed, len(life))
    later = min(max(passed, later), len(life))
    target: Table = {key: row for key, row in moments[passed].items() if key[0] not in fetched}
    target |= {key: row for key, row in moments[later].items() if key[0] in fetched}
    wanting: set[RowKey] = set()

    def seen(table: str, key: RowKey, xid: int) -> bool:
        return table == TABLE and key[0] in fetched and xid <= later

    run(streams, passed, seen, lambda changes: apply(changes, target, wanting))
    unwanted = {key: row for key, row in target.items() if key not in wanting}
    assert unwanted == {key: row for key, row in source.rows.items() if key not in wanting}
    if not fetched:
        assert not wanting


def run(
    streams: list[list[Event]], passed: int, seen: Callable[[str, RowKey, int], bool], do: Callable[[Changes], None]
) -> None:
    """Take what comes after ``passed``, a transaction a batch; its number is its transaction's."""

    def flush() -> None:
        for changes in intake.batch.tables.values():
            do(changes)
        intake.begin_batch()

    expected = Expected(name=TABLE, target=TABLE, oid=7, columns={"id": 25, "plain": 25, "long": 25}, key=("id",))
    intake = Intake([expected], 0, flush, lambda: None, seen)
    intake.take(RELATION)
    for number, events in enumerate(streams[passed:], passed + 1):
        for event in (Begin(number, 0, number), *events, Commit(number, number, 0)):
            intake.take(event)
        flush()


def test_what_is_sent_again_is_no_heartbeat_and_what_is_no_transactions_is_heard_all_the_same() -> None:
    heard: list[Message] = []
    intake = Intake([], 100, lambda: None, lambda: None, heard=heard.append)
    aside = Message(None, transactional=False, lsn=40, prefix="strangler_observed", content=b"{}")
    for final, content in ((50, b"again"), (150, b"new"), (90, b"again")):
        intake.take(Begin(final, 0, final))
        intake.take(aside)
        intake.take(Message(None, transactional=True, lsn=final, prefix=PREFIX, content=content))
        intake.take(Commit(final, final + 1, 0))
    assert (intake.batch.heartbeat, intake.batch.transactions) == (b"new", 1)
    assert heard == [aside] * 3
