"""Tokens as they are written and read, and what they say of a stack."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler.capability import Data, Stack, Stage, State
from strangler.routing.causal import (
    LIFE_S,
    LONGEST,
    UNKNOWN_LIFE_S,
    Mark,
    Token,
    WatermarksInvalid,
    lacks_references,
    merged,
    read_position,
    read_token,
    seal_watermarks,
    sign_token,
    stack_for,
    unseal_watermarks,
)
from strangler.routing.decide import Decision, Why, decide
from strangler.routing.keys import Keys, sign_mark
from strangler.routing.table import Capability, Kind, Route, RoutingTable
from tests.fixtures.facts import Asked

KEYS = Keys.derive("MARKER of a secret that only the tests know")
OTHERS = Keys.derive("another secret that only the tests know")
NOON = 1_740_830_400
M, S = Stack.MONOLITH, Stack.SERVICE

positions = st.integers(0, 2**64 - 1)
names = st.from_regex(r"[a-z][a-z0-9_-]{0,62}", fullmatch=True)
marks = st.builds(
    Mark,
    upstream=names,
    position=st.none() | positions,
    at=st.integers(NOON - LIFE_S, NOON + LIFE_S),
    version=st.integers(0, 10**9),
)  # of servers whose clocks differ
tokens = st.builds(Token, marks=st.lists(marks, min_size=1, max_size=16).map(tuple))
anything = st.text(max_size=200) | st.text(st.characters(codec=None), max_size=20) | st.text("~.a0-", max_size=60)


def mark(upstream: str, position: int | None, version: int = 1, at: int = NOON) -> Mark:
    return Mark(upstream=upstream, position=position, at=at, version=version)


def token(*found: Mark) -> Token:
    return Token(marks=found)


def capability(state: State, *, references: bool = False) -> Capability:
    routes = (Route(path="/books"), Route(path="/search", kind=Kind.READS))
    return Capability(name="books", service="shelf", routes=routes, state=state, references=references)


CANARY = State(stage=Stage.CANARY, data=Data.STREAMED, share=10_000)
SERVICE = State(stage=Stage.SERVICE, owner=S, data=Data.STREAMED, share=10_000)


# --- as text ---


@given(tokens)
def test_a_token_comes_back_as_signed(found: Token) -> None:
    value = sign_token(found, KEYS)
    assert read_token(value, KEYS) == found
    assert len(value) < LONGEST
    assert not set(value) & set('",;\\ ')  # RFC 6265, section 4.1.1


def test_the_longest_token_is_short_enough() -> None:
    found = token(*(mark(f"{'s' * 62}{number:x}", 2**64 - 1, 10**15 - 1, 10**11) for number in range(16)))
    assert read_token(sign_token(found, KEYS), KEYS) == found


@pytest.mark.parametrize("at", range(len(sign_token(token(mark("monolith", 77), mark("shelf", None)), KEYS))))
def test_a_token_with_any_byte_changed_is_refused(at: int) -> None:
    value = sign_token(token(mark("monolith", 77), mark("shelf", None)), KEYS)
    for byte in map(chr, range(256)):
        changed = value[:at] + byte + value[at + 1 :]
        assert (read_token(changed, KEYS) is not None) == (changed == value)


@given(anything)
def test_what_nobody_signed_is_refused(text: str) -> None:
    assert read_token(text, KEYS) is None
    assert read_token(f"monolith~5~{NOON}~1.{text}", KEYS) is None


@given(anything)
def test_what_is_signed_and_no_token_is_none(text: str) -> None:
    found = read_token(sign_mark(text, KEYS), KEYS)
    assert found is None or sign_mark(text, KEYS) == sign_token(found, KEYS)


def test_a_token_of_another_secret_is_believed_only_beside_ours() -> None:
    found = token(mark("monolith", 5))
    both = replace(KEYS, second=OTHERS)
    assert read_token(sign_token(found, OTHERS), KEYS) is None
    assert read_token(sign_token(found, OTHERS), both) == found


@pytest.mark.parametrize(
    ("told", "position"),
    [
        (b"0/0", 0),
        (b"0/16B3748", 0x16B3748),
        (b"AB/cd", 0xAB_0000_00CD),
        (b"FFFFFFFF/FFFFFFFF", 2**64 - 1),
        (b"none", None),
        (b"", None),
        (b"0", None),
        (b"0/", None),
        (b"0/123456789", None),
        (b"1/2,3/4", None),
        (b"-1/2", None),
        (b" 0/1", None),
        (b"0/1\n", None),
        (b"\xff/1", None),
    ],
)
def test_a_position_is_read_as_postgres_writes_it(told: bytes, position: int | None) -> None:
    assert read_position(told) == position


# --- as one ---


@given(st.lists(tokens, max_size=4))
def test_nothing_that_counts_is_lost_when_tokens_become_one(found: list[Token]) -> None:
    one = merged(found, NOON)
    counting = [each for every in found for each in every.marks if each.counts(NOON)]
    if one is None:
        assert not counting
        return
    assert all(one.version >= each.version for each in counting if len(one.marks) < 16)
    kept = {(each.upstream, each.position is None): each for each in one.marks}
    assert len(kept) == len(one.marks) <= 16
    for each in counting:
        other = kept.get((each.upstream, each.position is None))
        if other is None:  # there are more than are kept, and the latest are
            assert len(kept) == 16
            assert all(than.at >= each.at for than in one.marks)
        else:
            assert other.at >= each.at
            assert each.position is None or (other.position or 0) >= each.position
    assert merged([one], NOON) == one


def test_marks_count_for_their_time() -> None:
    for position, life in ((5, LIFE_S), (None, UNKNOWN_LIFE_S)):
        found = token(mark("monolith", position))
        assert merged([found], NOON + life - 0.1) == found
        assert merged([found], NOON + life) is None


# --- who has it ---


@pytest.mark.parametrize(
    ("state", "asked", "found", "applied", "answers"),
    [
        (CANARY, S, [mark("monolith", 7)], {("books", S): 7}, S),
        (CANARY, S, [mark("monolith", 7)], {("books", S): 6}, M),
        (CANARY, S, [mark("monolith", 7)], {("books", M): 9, ("other", S): 9}, M),
        (CANARY, S, [mark("monolith", 7)], {}, M),
        (CANARY, S, [mark("monolith", None)], {("books", S): 9}, M),
        (CANARY, S, [mark("monolith", 7), mark("monolith", None)], {("books", S): 9}, M),
        (CANARY, S, [mark("shelf", 7)], {}, S),  # what it wrote itself it has
        (CANARY, S, [mark("other", 7)], {}, S),
        (CANARY, M, [mark("monolith", 7), mark("shelf", 7)], {}, M),  # it got all when it became the owner
        (SERVICE, M, [mark("shelf", 7)], {("books", M): 7}, M),
        (SERVICE, M, [mark("shelf", 7)], {("books", M): 6, ("books", S): 9}, S),
        (SERVICE, M, [mark("monolith", 7)], {}, M),
        (SERVICE, S, [mark("monolith", 7), mark("shelf", 7)], {}, S),
        (State(stage=Stage.CANARY, data=Data.NONE, share=10_000), S, [mark("monolith", 7)], {}, S),
    ],
)
def test_a_read_goes_where_all_is_that_was_written(
    state: State, asked: Stack, found: list[Mark], applied: dict[tuple[str, Stack], int], answers: Stack
) -> None:
    def known(name: str, stack: Stack) -> int | None:
        return applied.get((name, stack))

    assert stack_for(asked, capability(state), 1, token(*found), known) is answers


@pytest.mark.parametrize(
    ("state", "asked", "found", "applied", "answers"),
    [
        (CANARY, M, [mark("shelf", 7, 2)], {}, S),  # the owner is another by now
        (CANARY, M, [mark("shelf", 7, 2)], {("books", M): 7}, M),
        (CANARY, M, [mark("shelf", 7, 2), mark("monolith", 5)], {("books", S): 5}, S),
        (CANARY, M, [mark("shelf", 7, 3, NOON - 1), mark("monolith", 5, 2)], {}, S),
        (CANARY, M, [mark("shelf", 7, 2), mark("monolith", 5, 2, NOON + 1)], {}, M),
        (SERVICE, S, [mark("monolith", 5, 2)], {}, M),
        (State(stage=Stage.SERVICE, owner=S, share=10_000), S, [mark("monolith", 5, 2)], {}, S),  # the only one
        (replace(SERVICE, stage=Stage.RETIRED), S, [mark("monolith", 5, 2)], {}, S),
        (replace(SERVICE, killed="slow"), S, [mark("monolith", 5, 2)], {}, S),
        (State(stage=Stage.SYNCING), M, [mark("shelf", 5, 2)], {}, M),  # its copy is not whole yet
        (State(stage=Stage.CANARY, data=Data.SNAPSHOT, data_at=datetime.now(UTC)), M, [mark("shelf", 5, 2)], {}, M),
    ],
)
def test_whose_table_is_older_than_the_token_goes_by_the_marks(
    state: State, asked: Stack, found: list[Mark], applied: dict[tuple[str, Stack], int], answers: Stack
) -> None:
    def known(name: str, stack: Stack) -> int | None:
        return applied.get((name, stack))

    assert stack_for(asked, capability(state), 1, token(*found), known) is answers


def test_copies_for_reading_only_are_as_new_as_their_stream() -> None:
    def at_six(name: str, stack: Stack) -> int | None:
        return {("books", S): 6}.get((name, stack))

    for state in (CANARY, SERVICE):
        reads = capability(state, references=True)
        assert lacks_references(S, reads, token(mark("monolith", 7)), at_six)
        assert lacks_references(S, replace(reads, name="others"), token(mark("monolith", 7)), at_six)  # nobody tells
        assert not lacks_references(S, reads, token(mark("monolith", 6)), at_six)
        assert not lacks_references(S, reads, token(mark("monolith", None)), at_six)
        assert not lacks_references(S, reads, token(mark("shelf", 7)), at_six)
        assert not lacks_references(M, reads, token(mark("monolith", 7)), at_six)
        assert not lacks_references(S, capability(state), token(mark("monolith", 7)), at_six)


def test_the_decision_says_that_it_is_for_what_was_written() -> None:
    upstreams = {"monolith": ("http://127.0.0.1:1",), "shelf": ("http://127.0.0.1:2",)}
    table = RoutingTable(version=1, upstreams=upstreams, capabilities=(capability(CANARY),))
    written, behind, reached = token(mark("monolith", 7)), {("books", S): 6}, {("books", S): 7}
    there = Decision(S, "shelf", Why.SHARE, "books")
    assert decide(table, Asked(path=b"/books", token=written, streams=reached)) == there
    assert decide(table, Asked(path=b"/books", streams=behind)) == there
    diverted = Decision(M, "monolith", Why.CAUSAL, "books")
    assert decide(table, Asked(path=b"/books", token=written, streams=behind)) == diverted
    assert decide(table, Asked(path=b"/search", method="POST", token=written, streams=behind)) == diverted
    write = decide(table, Asked(path=b"/books", method="POST", token=written, streams=behind))
    assert write == Decision(M, "monolith", Why.WRITE, "books")
    wish = decide(table, Asked(path=b"/books", token=written, streams=behind, wish=("books", S)))
    assert wish == diverted


# --- how far the streams are ---


@given(st.dictionaries(st.tuples(names, st.sampled_from(Stack)), positions, max_size=5))
def test_watermarks_come_back_as_sealed(found: dict[tuple[str, Stack], int]) -> None:
    message = seal_watermarks(found, KEYS)
    assert unseal_watermarks(message, OTHERS, KEYS) == found
    with pytest.raises(WatermarksInvalid, match="seal"):
        unseal_watermarks(message, OTHERS)
    with pytest.raises(WatermarksInvalid, match="seal"):
        unseal_watermarks(message.replace(b"{", b"[", 1), KEYS)


@given(st.binary(max_size=300))
def test_what_nobody_sealed_tells_nothing(message: bytes) -> None:
    with pytest.raises(WatermarksInvalid):
        unseal_watermarks(message, KEYS)


@pytest.mark.parametrize("told", [[], {"books": 5}, {"books": {"shelf": "5"}}, {"books": {"service": 5}}, None])
def test_what_is_sealed_and_cannot_be_read_is_said(told: object) -> None:
    from strangler.routing.causal import _seal

    body = json.dumps(told).encode()
    with pytest.raises(WatermarksInvalid, match="cannot be read"):
        unseal_watermarks(_seal(body, KEYS) + b"\n" + body, KEYS)
