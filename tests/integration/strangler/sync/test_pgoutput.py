"""What PostgreSQL 15 and 18 said, and what the PostgreSQL of the fixture says now, against what was done to it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import pytest

from strangler.local import Postgres
from strangler.sync.pgoutput import (
    UNCHANGED,
    Begin,
    Column,
    Commit,
    Decoder,
    Delete,
    Event,
    Insert,
    Message,
    MessageMalformed,
    Origin,
    Relation,
    StreamAbort,
    StreamCommit,
    StreamStart,
    StreamStop,
    Truncate,
    Type,
    Update,
)
from tests.vectors.pgoutput.record import FOLDER, SCENES, record

INT, TEXT = 23, 25
Ask = Callable[[str], list[Event]]


def decoded(options: dict[str, str], payloads: list[str]) -> list[Event]:
    decoder = Decoder(int(options["proto_version"]))
    return [decoder.decode(bytes.fromhex(payload)) for payload in payloads]


@pytest.fixture(params=["15", "18", "live"])
def said(request: pytest.FixtureRequest) -> Ask:
    """Return what was said in a scene: as recorded, or played again."""

    def ask(scene: str) -> list[Event]:
        if request.param == "live":
            server: Postgres = request.getfixturevalue("postgres")
            played = record(server.url(), SCENES[scene])
            return decoded(dict(played.options), list(played.payloads))
        if int(request.param) < SCENES[scene].since:
            pytest.skip(f"PostgreSQL {request.param} cannot do this")
        kept = json.loads((FOLDER / request.param / f"{scene}.json").read_text())
        return decoded(kept["options"], kept["payloads"])

    return ask


def within(events: list[Event]) -> list[Event]:
    """Return the events without where transactions begin and end."""
    return [event for event in events if not isinstance(event, Begin | Commit)]


def rows(events: list[Event]) -> list[Event]:
    return [event for event in events if isinstance(event, Insert | Update | Delete)]


def relations(events: list[Event]) -> dict[str, int]:
    return {event.name: event.oid for event in events if isinstance(event, Relation)}


def columns(events: list[Event]) -> list[list[str]]:
    return [[column.name for column in event.columns] for event in events if isinstance(event, Relation)]


def test_rows(said: Ask) -> None:
    events = said("rows")
    book = relations(events)["book"]
    described, first, second, long, *rest = within(events)
    assert described == Relation(
        None,
        book,
        "public",
        "book",
        "d",
        (Column(True, "id", INT, -1), Column(False, "title", TEXT, -1), Column(False, "body", TEXT, -1)),
    )
    assert first == Insert(None, book, (b"1", b"Dune", None))
    assert second == Insert(None, book, (b"2", b"", "é".encode()))
    assert isinstance(long, Update)
    assert isinstance(long.row[2], bytes)
    assert (len(long.row[2]), long.row[2][:8]) == (6400, b"c4ca4238")  # the MD5 of "1"
    assert rest == [
        Update(None, book, None, False, (b"1", b"Dune II", UNCHANGED)),
        Update(None, book, (b"2", None, None), True, (b"3", b"", "é".encode())),
        Delete(None, book, (b"3", None, None), True),
    ]


def test_each_change_is_a_transaction(said: Ask) -> None:
    events = [event for event in said("rows") if not isinstance(event, Relation)]
    kinds = [type(event) for event in events]
    assert kinds == [
        kind for change in (Insert, Insert, Update, Update, Update, Delete) for kind in (Begin, change, Commit)
    ]
    begins = [event for event in events if isinstance(event, Begin)]
    commits = [event for event in events if isinstance(event, Commit)]
    assert [begin.final_lsn for begin in begins] == [commit.lsn for commit in commits]
    assert [begin.time for begin in begins] == [commit.time for commit in commits]
    assert len({begin.xid for begin in begins}) == 6
    ends = [commit.end_lsn for commit in commits]
    assert ends == sorted(ends)
    assert all(commit.lsn < commit.end_lsn for commit in commits)


def test_a_whole_old_row_holds_what_the_row_leaves_out(said: Ask) -> None:
    events = said("identities")
    inserted, updated, deleted = rows(events)[:3]
    assert isinstance(inserted, Insert)
    body = inserted.row[2]
    assert isinstance(body, bytes)
    whole = relations(events)["whole"]
    assert updated == Update(None, whole, (b"1", b"a", body), False, (b"1", b"b", UNCHANGED))
    assert deleted == Delete(None, whole, (b"1", b"b", body), False)


def test_the_key_is_what_identifies_a_row(said: Ask) -> None:
    events = said("identities")
    keys = {
        event.name: (event.identity, [column.name for column in event.columns if column.is_key])
        for event in events
        if isinstance(event, Relation)
    }
    assert keys == {"whole": ("f", ["id", "title", "body"]), "coded": ("i", ["code"]), "log": ("n", [])}
    coded, log = relations(events)["coded"], relations(events)["log"]
    assert rows(events)[3:] == [
        Insert(None, coded, (b"1", b"x", b"a")),
        Update(None, coded, None, False, (b"1", b"x", b"b")),
        Update(None, coded, (None, b"x", None), True, (b"1", b"y", b"b")),
        Delete(None, coded, (None, b"y", None), True),
        Insert(None, log, (b"said",)),
    ]


def test_truncate(said: Ask) -> None:
    events = said("truncate")
    shelf, item, other = (relations(events)[name] for name in ("shelf", "item", "other"))
    assert [event for event in events if isinstance(event, Truncate)] == [
        Truncate(None, (other,), cascade=False, restart_identity=False),
        Truncate(None, (other,), cascade=False, restart_identity=True),
        Truncate(None, (shelf, other, item), cascade=True, restart_identity=True),
    ]


def test_types(said: Ask) -> None:
    mood, cents, place, moods, thing, row = within(said("types"))
    assert [(event.schema, event.name) for event in (mood, cents, place, moods) if isinstance(event, Type)] == [
        ("public", "mood"),
        ("", "int8"),  # a domain's oid, and what it is made of
        ("public", "place"),
        ("public", "_mood"),
    ]
    assert isinstance(thing, Relation)
    assert isinstance(mood, Type)
    assert thing.columns[1] == Column(False, "mood", mood.oid, -1)
    modifiers = {column.name: column.modifier for column in thing.columns if column.modifier != -1}
    assert modifiers == {"size": (8 << 16) + 2 + 4, "name": 20 + 4}
    assert "twice" not in [column.name for column in thing.columns]
    values = (b"1", b"sad", b"5", b'{a,NULL,"b c"}', b'("High St",4)', b"{glad,sad}", b"1.50", b"it")
    assert row == Insert(None, thing.oid, values)


def test_a_message_that_is_not_of_its_transaction_comes_before_it_and_without_it(said: Ask) -> None:
    events = [event for event in said("messages") if not isinstance(event, Relation)]
    told = [
        (event.transactional, event.prefix, event.content) if isinstance(event, Message) else type(event)
        for event in events
    ]
    assert told == [
        (False, "said", b"at once"),
        Begin,
        Insert,
        (True, "said", b"within"),
        Insert,
        Commit,
        (False, "said", b"\x00\xff"),
    ]


def test_an_origin_stands_before_what_came_from_it(said: Ask) -> None:
    events = [event for event in said("origin") if not isinstance(event, Relation)]
    assert [type(event) for event in events] == [Begin, Origin, Insert, Commit, Begin, Insert, Commit]
    assert events[1] == Origin(0x1_0000_002A, "afar")


def test_an_origin_stands_in_the_first_piece_and_has_no_position_yet(said: Ask) -> None:
    events = said("origin_streamed")
    assert isinstance(events[0], StreamStart)
    assert events[1] == Origin(0, "afar")
    assert sum(isinstance(event, Origin) for event in events) == 1
    assert [row.row[0] for row in rows(events) if isinstance(row, Insert)] == [b"%d" % n for n in range(1, 501)]


def test_a_table_that_was_altered_is_described_again(said: Ask) -> None:
    events = said("altered")
    assert columns(events) == [["id", "title", "body"], ["id", "title", "pages"], ["id", "name", "pages"]]
    assert [row.row for row in rows(events) if isinstance(row, Insert)] == [
        (b"1", b"a", None),
        (b"2", b"b", b"8"),
        (b"3", b"c", b"9"),
    ]


def test_binary(said: Ask) -> None:
    found = [row.row for row in rows(said("binary")) if isinstance(row, Insert | Update)]
    assert found == [(b"\0\0\1\2", b"Dune", None), (b"\0\0\1\2", b"II", None)]


def kept(events: list[Event]) -> list[tuple[int, bytes]]:
    """Return how many rows of each title are left once what was rolled back is taken away."""
    found: list[Insert] = []
    for event in events:
        if isinstance(event, Insert):
            found.append(event)
        elif isinstance(event, StreamAbort):
            found = [row for row in found if row.xid != event.subxid]
    titles = [row.row[1] for row in found]
    assert all(isinstance(title, bytes) for title in titles)
    return [(len(list(group)), title) for title, group in groupby(titles) if isinstance(title, bytes)]


@pytest.mark.parametrize("scene", ["streamed", "streamed_parallel"])
def test_a_transaction_that_goes_on_comes_in_pieces(said: Ask, scene: str) -> None:
    events = said(scene)
    starts = [event for event in events if isinstance(event, StreamStart)]
    aborts = [event for event in events if isinstance(event, StreamAbort)]
    (commit,) = (event for event in events if isinstance(event, StreamCommit))
    assert len(starts) == sum(isinstance(event, StreamStop) for event in events) > 1
    assert [start.first for start in starts if start.xid == commit.xid] == [True] + [False] * (
        sum(start.xid == commit.xid for start in starts) - 1
    )
    assert aborts[0].xid == commit.xid != aborts[0].subxid
    assert all((abort.lsn is not None) == (scene == "streamed_parallel") for abort in aborts)
    assert any(isinstance(event, Insert) and event.row[1] == b"dropped" for event in events)
    assert kept(events) == [(500, b"kept"), (1, b"last"), (1, b"after")]
    last = rows(events)[-1]
    assert isinstance(last, Insert)
    assert last.xid is None


def test_a_change_of_a_table_that_was_rolled_back_is_taken_back(said: Ask) -> None:
    events = said("altered_streamed")
    assert kept(events) == [(1, b"three columns"), (500, b"kept"), (1, b"after")]
    widths = {(row.row[1], len(row.row)) for row in rows(events) if isinstance(row, Insert)}
    assert widths == {
        (b"three columns", 3),
        (b"dropped", 4),
        (b"kept", 3),
        (b"given up", 4),
        (b"after", 3),
    }
    assert columns(events)[-1] == ["id", "title", "body"]


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*/*.json")), ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_a_recorded_message_that_was_cut_is_refused(file: Path) -> None:
    kept = json.loads(file.read_text())
    payloads = [bytes.fromhex(payload) for payload in kept["payloads"]]
    decoder = Decoder(int(kept["options"]["proto_version"]))
    kinds: Counter[int] = Counter()
    for payload in payloads:
        kinds[payload[0]] += 1
        if kinds[payload[0]] <= 10:  # the first rows say as much as a thousand
            for length in range(min(len(payload), 300)):
                if payload[:1] != b"A" or length != 9:  # an abort without its position is one, too
                    with pytest.raises(MessageMalformed):
                        decoder.decode(payload[:length])
        decoder.decode(payload)
