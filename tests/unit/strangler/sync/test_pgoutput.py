"""What pgoutput says, against a model that says it, and against bytes that nobody should have sent."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler.sync.pgoutput import (
    UNCHANGED,
    Begin,
    Decoder,
    Delete,
    Event,
    Insert,
    Keepalive,
    MessageMalformed,
    Origin,
    Relation,
    StreamStart,
    StreamStop,
    Update,
    XLogData,
    lsn_of,
    lsn_text,
    read_frame,
    standby_status,
)
from tests.unit.strangler.sync.pgoutput_model import TABLE, boundaries, encode, events, pieces, positions

PROTOCOLS = [1, 2, 3, 4]
XID = 77


def decoder(protocol: int = 1, *, streaming: bool = False) -> Decoder:
    """Return a decoder that knows the table, and is inside a streamed piece where asked."""
    found = Decoder(protocol)
    found.decode(encode(TABLE))
    if streaming:
        found.decode(encode(StreamStart(XID, first=True)))
    return found


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(events(None) | boundaries)
def test_what_the_server_says_is_read(protocol: int, event: Event) -> None:
    assert decoder(protocol).decode(encode(event)) == event


@pytest.mark.parametrize("protocol", PROTOCOLS[1:])
@given(events(XID), pieces)
def test_what_a_transaction_that_goes_on_says_is_read(protocol: int, event: Event, end: Event) -> None:
    found = decoder(protocol, streaming=True)
    assert found.decode(encode(event)) == event
    assert found.decode(encode(StreamStop())) == StreamStop()
    assert found.decode(encode(end)) == end
    assert found.decode(encode(Begin(1, 2, 3))) == Begin(1, 2, 3)


@given(events(XID), pieces, st.booleans(), st.data())
def test_a_message_that_was_cut_or_filled_is_refused(event: Event, end: Event, ends: bool, data: st.DataObject) -> None:
    message, found = encode(end if ends else event), decoder(4, streaming=not ends)
    length = data.draw(st.integers(0, len(message) - 1))
    known = length == 9 and message[:1] == b"A"  # an abort without its position is one, too
    if not known:
        with pytest.raises(MessageMalformed):
            found.decode(message[:length])
    with pytest.raises(MessageMalformed):
        found.decode(message + b"\0")
    assert found.decode(message) == (end if ends else event)


@given(events(None) | boundaries, st.data())
def test_a_message_with_a_byte_changed_is_another_or_refused(event: Event, data: st.DataObject) -> None:
    message = bytearray(encode(event))
    message[data.draw(st.integers(0, len(message) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = decoder(4).decode(bytes(message))
    except MessageMalformed:
        return
    assert isinstance(found, Event)


ROW = (b"1", None, UNCHANGED)


def changes() -> list[Insert | Update | Delete]:
    return [
        Insert(None, 1, ROW),
        Insert(7, 1, ROW),
        Insert(None, 2, ROW),
        Insert(None, 1, (b"1", None, None)),
        Update(None, 1, None, False, ROW),
        Update(7, 1, None, False, ROW),
        Update(None, 2, None, False, ROW),
        Update(None, 1, ROW, False, ROW),
        Update(None, 1, ROW, True, ROW),
        Update(None, 1, None, False, (b"1", None, None)),
        Delete(None, 1, ROW, False),
        Delete(7, 1, ROW, False),
        Delete(None, 2, ROW, False),
        Delete(None, 1, (b"1", None, None), False),
        Delete(None, 1, ROW, True),
    ]


def test_changes_are_equal_that_are_alike_in_all_and_no_others() -> None:
    found = [[one == other for other in changes()] for one in changes()]
    assert found == [[at == beside for beside in range(len(found))] for at in range(len(found))]


def test_a_change_says_what_it_is() -> None:
    assert repr(Delete(None, 1, (b"1",), True)) == "Delete(xid=None, relation=1, old=(b'1',), old_is_key=True)"


@given(st.binary(max_size=60), st.booleans())
def test_whatever_is_sent_is_an_event_or_refused(message: bytes, streaming: bool) -> None:
    with contextlib.suppress(MessageMalformed):
        assert isinstance(decoder(4, streaming=streaming).decode(message), Event)


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (encode(Insert(None, 9, (b"1", None, UNCHANGED))), "a row of 3 values in a table of unknown columns"),
        (encode(Insert(None, 1, (b"1",))), "a row of 1 values in a table of 3 columns"),
        (b"I" + struct.pack(">I", 1) + b"K\0\0", "b'K' where its row begins"),
        (b"I" + struct.pack(">IcHc", 1, b"N", 3, b"x"), "a value of the unknown kind b'x'"),
        (b"I" + struct.pack(">IcHcI", 1, b"N", 3, b"t", 2**32 - 1) + b"1", "index out of range"),
        (b"b" + bytes(28), "it is of an unknown kind, or has no place here"),
        (encode(StreamStop()), "it is of an unknown kind, or has no place here"),
        (b"", "index out of range"),
    ],
)
def test_what_is_wrong_is_told(message: bytes, complaint: str) -> None:
    with pytest.raises(MessageMalformed, match=complaint):
        decoder().decode(message)


def test_a_table_that_changes_has_other_rows() -> None:
    found = decoder()
    assert found.decode(encode(Relation(None, 1, "public", "book", "d", TABLE.columns[:1]))) is not None
    assert found.decode(encode(Insert(None, 1, (b"1",)))) == Insert(None, 1, (b"1",))
    with pytest.raises(MessageMalformed):
        found.decode(encode(Insert(None, 1, (b"1", None, None))))


def test_a_piece_begins_within_no_other_and_with_protocol_2() -> None:
    start = encode(StreamStart(XID, first=True))
    for found in (decoder(1), decoder(2, streaming=True)):
        with pytest.raises(MessageMalformed):
            found.decode(start)
    with pytest.raises(MessageMalformed):
        decoder(2, streaming=True).decode(encode(Begin(1, 2, 3)))


def test_an_origin_within_a_piece_has_no_xid() -> None:
    assert decoder(2, streaming=True).decode(encode(Origin(0, "afar"))) == Origin(0, "afar")


@pytest.mark.parametrize("protocol", [0, 5])
def test_other_protocols_are_refused(protocol: int) -> None:
    with pytest.raises(ValueError, match=f"protocol {protocol}; this decoder knows 1 to 4"):
        Decoder(protocol)


@given(positions)
def test_a_position_is_written_as_it_is_read(lsn: int) -> None:
    assert lsn_of(lsn_text(lsn)) == lsn


def test_positions_are_written_as_postgresql_does() -> None:
    assert (lsn_text(0x16_B374_D848), lsn_of("0/1A")) == ("16/B374D848", 26)
    with pytest.raises(ValueError, match="'26' is no position"):
        lsn_of("26")


def test_frames() -> None:
    data = struct.pack(">cQQq", b"w", 1, 2, 3) + b"rest"
    assert read_frame(data) == XLogData(1, 2, 3, b"rest")
    keepalive = struct.pack(">cQqB", b"k", 5, -6, 1)
    assert read_frame(keepalive) == Keepalive(5, -6, reply_wanted=True)
    assert standby_status(1, 2, 3, 4, reply=True) == b"r" + struct.pack(">QQQqB", 1, 2, 3, 4, 1)
    for broken in (data[:20], keepalive[:-1], keepalive + b"\0", b"z", b""):
        with pytest.raises(MessageMalformed):
            read_frame(broken)
