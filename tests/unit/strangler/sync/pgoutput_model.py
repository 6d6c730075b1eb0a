"""The other side of ``pgoutput``: events to the bytes that PostgreSQL would send, and events to choose from."""

from __future__ import annotations

import struct

from hypothesis import strategies as st

from strangler.sync.pgoutput import (
    UNCHANGED,
    Begin,
    Column,
    Commit,
    Delete,
    Event,
    Insert,
    Message,
    Origin,
    Relation,
    StreamAbort,
    StreamCommit,
    StreamStart,
    Truncate,
    Tuple,
    Type,
    Update,
)


def encode(event: Event) -> bytes:
    """Return the message that says ``event``."""
    match event:
        case Begin():
            return struct.pack(">cQqI", b"B", *event)
        case Commit():
            return struct.pack(">cBQQq", b"C", 0, *event)
        case Origin():
            return struct.pack(">cQ", b"O", event.lsn) + _text(event.name)
        case Relation():
            return b"R" + _xid(event.xid) + _relation(event)
        case Type():
            return b"Y" + _xid(event.xid) + struct.pack(">I", event.oid) + _text(event.schema) + _text(event.name)
        case Insert():
            return b"I" + _xid(event.xid) + struct.pack(">I", event.relation) + b"N" + _row(event.row)
        case Update():
            old = b"" if event.old is None else (b"K" if event.old_is_key else b"O") + _row(event.old)
            return b"U" + _xid(event.xid) + struct.pack(">I", event.relation) + old + b"N" + _row(event.row)
        case Delete():
            mark = b"K" if event.old_is_key else b"O"
            return b"D" + _xid(event.xid) + struct.pack(">I", event.relation) + mark + _row(event.old)
        case Truncate():
            options = event.cascade | event.restart_identity << 1
            head = struct.pack(">IB", len(event.relations), options)
            return b"T" + _xid(event.xid) + head + b"".join(struct.pack(">I", oid) for oid in event.relations)
        case Message():
            head = struct.pack(">BQ", event.transactional, event.lsn) + _text(event.prefix)
            return b"M" + _xid(event.xid) + head + struct.pack(">I", len(event.content)) + event.content
        case _:
            return _piece(event)


def _piece(event: Event) -> bytes:
    match event:
        case StreamStart():
            return struct.pack(">cIB", b"S", *event)
        case StreamCommit():
            return struct.pack(">cIBQQq", b"c", event.xid, 0, event.lsn, event.end_lsn, event.time)
        case StreamAbort():
            at = b"" if event.lsn is None else struct.pack(">Qq", event.lsn, event.time)
            return struct.pack(">cII", b"A", event.xid, event.subxid) + at
        case _:
            return b"E"


def _xid(xid: int | None) -> bytes:
    return b"" if xid is None else struct.pack(">I", xid)


def _text(text: str) -> bytes:
    return text.encode() + b"\0"


def _relation(event: Relation) -> bytes:
    columns = b"".join(
        struct.pack(">B", each.is_key) + _text(each.name) + struct.pack(">Ii", each.type, each.modifier)
        for each in event.columns
    )
    head = struct.pack(">I", event.oid) + _text(event.schema) + _text(event.name) + event.identity.encode()
    return head + struct.pack(">H", len(event.columns)) + columns


def _row(row: Tuple) -> bytes:
    parts = [struct.pack(">H", len(row))]
    for value in row:
        if isinstance(value, bytes):
            parts.append(b"t" + struct.pack(">I", len(value)) + value)
        else:
            parts.append(b"n" if value is None else b"u")
    return b"".join(parts)


numbers = st.integers(0, 2**32 - 1)
others = st.integers(2, 2**32 - 1)
positions = st.integers(0, 2**64 - 1)
clocks = st.integers(-(2**63), 2**63 - 1)
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=10)
WIDTH = 3
values = st.binary(max_size=8) | st.none() | st.just(UNCHANGED)
rows = st.tuples(*[values] * WIDTH)
columns = st.builds(Column, st.booleans(), names, numbers, st.integers(-(2**31), 2**31 - 1))
TABLE = Relation(None, 1, "public", "book", "d", tuple(Column(at == 0, f"c{at}", 25, -1) for at in range(WIDTH)))
"""The table that rows are of."""


def events(xid: int | None) -> st.SearchStrategy[Event]:
    """Return events that stand between the beginning and the end of a transaction, or of a piece of ``xid``."""
    who = st.just(xid)
    kinds: list[st.SearchStrategy[Event]] = [
        st.builds(
            Relation,
            who,
            st.integers(2, 2**32 - 1),
            names,
            names,
            st.sampled_from("dnfi"),
            st.lists(columns).map(tuple),
        ),
        st.builds(Type, who, numbers, names, names),
        st.builds(Insert, who, st.just(TABLE.oid), rows),
        st.builds(Update, who, st.just(TABLE.oid), rows, st.booleans(), rows),
        st.builds(Update, who, st.just(TABLE.oid), st.none(), st.just(False), rows),
        st.builds(Delete, who, st.just(TABLE.oid), rows, st.booleans()),
        st.builds(Truncate, who, st.lists(numbers, max_size=4).map(tuple), st.booleans(), st.booleans()),
        st.builds(Message, who, st.booleans(), positions, names, st.binary(max_size=20)),
    ]
    return st.one_of(kinds)


boundaries: st.SearchStrategy[Event] = st.one_of(
    st.builds(Begin, positions, clocks, numbers),
    st.builds(Commit, positions, positions, clocks),
    st.builds(Origin, positions, names),
)
pieces: st.SearchStrategy[Event] = st.one_of(
    st.builds(StreamCommit, numbers, positions, positions, clocks),
    st.builds(StreamAbort, numbers, numbers, st.none(), st.none()),
    st.builds(StreamAbort, numbers, numbers, positions, clocks),
)
