"""What a visitor carries between workers, and that no stack answers that lacks the visitor's last write."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from strangler.capability import WHOLE, Data, Stack, Stage, State
from strangler.project.limits import Limits
from strangler.routing.causal import Mark, Token, sign_token
from strangler.routing.decide import Decision, Why, decide
from strangler.routing.keys import Keys
from strangler.routing.table import Capability, Route, RoutingTable
from strangler_proxy.causal import Reached, cookie_lines, mark_of, token_in
from strangler_proxy.facts import RequestFacts
from strangler_proxy.forwarded import Peer
from strangler_proxy.http1.head import read_request

KEYS = Keys.derive("only for tests, and at least thirty-two bytes")
NOON = 1_740_830_400
M, S = Stack.MONOLITH, Stack.SERVICE
UPSTREAM = {M: "monolith", S: "shelf"}
_SET = re.compile(
    rb"Set-Cookie: (strangler_causal_[0-9a-f]{8})=([^;]*); Max-Age=(\d+); Path=/; HttpOnly; SameSite=Lax\r\n"
)


def kept(jar: dict[bytes, bytes], lines: bytes) -> dict[bytes, bytes]:
    """Return what a browser keeps that had ``jar``, and gets ``lines``."""
    found = dict(jar)
    for name, value, age in _SET.findall(lines):
        found.pop(name, None)
        if age != b"0":
            found[name] = value
    assert _SET.sub(b"", lines) == b""
    return found


def mark(position: int | None, upstream: str = "monolith", version: int = 1) -> Mark:
    return Mark(upstream=upstream, position=position, at=NOON, version=version)


def test_a_cookie_takes_the_place_of_those_that_the_request_brought() -> None:
    jar: dict[bytes, bytes] = {}
    for position in (5, 9, 7):
        before = token_in(jar, KEYS, NOON)
        jar = kept(jar, cookie_lines(mark(position), before, jar, KEYS, secure=False))
        assert len(jar) == 1
    assert token_in(jar, KEYS, NOON) == Token(marks=(mark(9),))


def test_writes_at_once_lose_nothing_to_each_other() -> None:
    jar: dict[bytes, bytes] = {}
    marks = [mark(9), *(mark(position, "shelf", 2) for position in (1, 3, 2))]
    for one in marks:
        jar = kept(jar, cookie_lines(one, None, {}, KEYS, secure=False))
    assert len(jar) == 4
    found = token_in(jar, KEYS, NOON)
    assert found is not None
    assert (found.version, set(found.marks)) == (2, {mark(9), mark(3, "shelf", 2)})
    jar = kept(jar, cookie_lines(mark(11), found, jar, KEYS, secure=False))
    assert len(jar) == 1


def test_of_very_many_writes_at_once_the_last_ones_count() -> None:
    jar: dict[bytes, bytes] = {}
    for position in range(1, 31):
        jar = kept(jar, cookie_lines(mark(position), None, {}, KEYS, secure=False))
    found = token_in(jar, KEYS, NOON)
    assert found == Token(marks=(mark(30),))
    jar = kept(jar, cookie_lines(mark(31), found, jar, KEYS, secure=False))
    assert token_in(jar, KEYS, NOON) == Token(marks=(mark(31),))
    assert len(jar) == 30 - 12 + 1


def test_cookies_are_secure_where_the_request_was() -> None:
    lines = cookie_lines(mark(9), None, {b"strangler_causal_0123abcd": b"x"}, KEYS, secure=True)
    assert lines.count(b"; Secure\r\n") == lines.count(b"\r\n") == 2


def test_what_a_client_made_up_is_no_token_and_stays_bounded() -> None:
    many = {b"strangler_causal_%08x" % number: b"x" * 3000 for number in range(500)}
    assert token_in(many, KEYS, NOON) is None
    lines = cookie_lines(mark(9), None, {b"strangler_causal_\xff": b"", **many}, KEYS, secure=False)
    assert len(lines) < 2_000
    assert b"\xff" not in lines
    forged = sign_token(Token(marks=(mark(2**64 - 1),)), Keys.derive("another secret of thirty-two bytes"))
    assert token_in({b"strangler_causal_0123abcd": forged.encode()}, KEYS, NOON) is None


@pytest.mark.parametrize(
    ("told", "written", "found"),
    [
        (b"0/7", False, mark(7)),
        (b"0/7", True, mark(7)),
        (b"none", True, None),
        (b"", True, mark(None)),
        (b"0/7,0/9", True, mark(None)),
        (b"", False, None),
        (b"0/x", False, None),
    ],
)
def test_a_stack_tells_what_it_wrote(told: bytes, written: bool, found: Mark | None) -> None:
    assert mark_of(told, "monolith", 1, written=written, now=NOON + 0.9) == found


def test_how_far_a_stream_is_nobody_knows_for_long() -> None:
    now = 100.0
    reached = Reached(lambda: now)
    assert reached.applied("books", S) is None
    reached.hear({("books", S): 7, ("other", M): 9})
    now += 2.9
    assert (reached.applied("books", S), reached.applied("books", M)) == (7, None)
    reached.hear({("books", S): 5})
    assert reached.applied("books", S) == 5
    now += 3.0
    assert reached.applied("books", S) is None


# --- visitors, two databases, streams that lag, workers that are late ---

VISITORS = ("anna", "bert")
WORKERS = (0, 1)


@dataclass
class Database:
    """Rows by visitor, and the WAL: what was committed at which position."""

    end: int
    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(VISITORS, 0))
    wal: list[tuple[int, str, int]] = field(default_factory=list)
    applied: int = 0  # of the other one's WAL

    def grow(self, by: int) -> None:
        self.end += by


@dataclass
class Worker:
    table: RoutingTable
    reached: Reached


@dataclass
class Answer:
    """One that is under way to its visitor."""

    visitor: str
    number: int
    jar: dict[bytes, bytes]
    lines: bytes


class Visits(RuleBasedStateMachine):
    """Two visitors read and write one capability through two workers while its owner moves back and forth."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.owner = M
        self.shares = {M: 5000, S: 5000}
        self.version = self.moved_at = 1
        self.bases = {M: Database(end=1000), S: Database(end=5)}  # positions of one say nothing in the other
        self.bases[S].applied, self.bases[M].applied = 1000, 5
        self.workers = [Worker(self.published(), Reached(lambda: self.now)) for _ in WORKERS]
        self.jars: dict[str, dict[bytes, bytes]] = {name: {} for name in VISITORS}
        self.seen = dict.fromkeys(VISITORS, 0)  # the last write that was answered
        self.number = 0
        self.under_way: list[Answer] = []

    def published(self) -> RoutingTable:
        stage = Stage.CANARY if self.owner is M else Stage.SERVICE
        state = State(stage=stage, owner=self.owner, data=Data.STREAMED, share=self.shares[self.owner])
        books = Capability(name="books", service="shelf", routes=(Route(path="/books"),), state=state)
        upstreams = {"monolith": ("http://127.0.0.1:1",), "shelf": ("http://127.0.0.1:2",)}
        return RoutingTable(version=self.version, upstreams=upstreams, capabilities=(books,))

    def asked(self, method: str, visitor: str, worker: Worker) -> Decision:
        cookies = b"; ".join(b"%b=%b" % each for each in self.jars[visitor].items())
        lines = [b"%b /books HTTP/1.1" % method.encode(), b"Host: shop", b"Authorization: " + visitor.encode()]
        found = read_request(b"\r\n".join([*lines, *([b"Cookie: " + cookies] * bool(cookies)), b"\r\n"]), Limits())
        assert found is not None
        facts = RequestFacts(found[0], Peer("127.0.0.1", ()), KEYS, worker.reached.applied)
        decision = decide(worker.table, facts)
        assert isinstance(decision, Decision)
        return decision

    @precondition(lambda self: len(self.under_way) < 6)  # as many connections browsers have
    @rule(visitor=st.sampled_from(VISITORS), at=st.sampled_from(WORKERS), more=st.integers(0, 3))
    def write(self, visitor: str, at: int, more: int) -> None:
        worker = self.workers[at]
        decision = self.asked("POST", visitor, worker)
        assert decision.why is Why.WRITE
        # Writes of a worker that has missed a move wait, or its fence refuses them. One that has missed two, and has no
        # lease, is left out of what is promised.
        if worker.table.version < self.moved_at:
            return
        assert decision.stack is self.owner
        self.number += 1
        base = self.bases[self.owner]
        base.grow(1)
        base.wal.append((base.end, visitor, self.number))
        base.rows[visitor] = self.number
        base.grow(more)  # others commit before it asks where it is
        position = b"0/%X" % base.end
        found = mark_of(position, UPSTREAM[self.owner], worker.table.version, written=True, now=self.clock())
        assert found is not None
        jar = dict(self.jars[visitor])
        taken = {name for each in self.under_way for name, _, _ in _SET.findall(each.lines)} | jar.keys()
        while True:  # two that are under way draw the same name once in 36 times: see docs/explanation/causal-reads.md
            before = token_in(jar, KEYS, self.clock())
            lines = cookie_lines(found, before, jar, KEYS, secure=False)
            if _SET.findall(lines)[0][0] not in taken:
                break
        self.under_way.append(Answer(visitor, self.number, jar, lines))

    def clock(self) -> float:
        """Return what facts take for the time, too."""
        return time.time()

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        each = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        self.jars[each.visitor] = kept(self.jars[each.visitor], each.lines)
        self.seen[each.visitor] = max(self.seen[each.visitor], each.number)

    @invariant()
    def nobody_goes_back_in_time(self) -> None:
        for worker in self.workers:
            for visitor in VISITORS:
                decision = self.asked("GET", visitor, worker)
                assert self.bases[decision.stack].rows[visitor] >= self.seen[visitor], (visitor, decision)

    @rule(into=st.sampled_from(Stack), heard=st.sets(st.sampled_from(WORKERS)), data=st.data())
    def apply(self, into: Stack, heard: set[int], data: st.DataObject) -> None:
        """Apply some of what is there, and tell some of the workers."""
        source, base = self.bases[into.other], self.bases[into]
        ends = [position for position, _, _ in source.wal if position > base.applied]
        self.bring(into, data.draw(st.sampled_from([*ends[:3], source.end])))
        for at in heard:
            self.workers[at].reached.hear({("books", into): base.applied})

    def bring(self, into: Stack, to: int) -> None:
        source, base = self.bases[into.other], self.bases[into]
        for position, visitor, number in source.wal:
            if base.applied < position <= to:
                base.rows[visitor] = number
                base.grow(1)  # what is applied is written, and goes nowhere
        base.applied = to

    @rule(of=st.sampled_from(Stack), by=st.integers(1, 50))
    def beat(self, of: Stack, by: int) -> None:
        self.bases[of].grow(by)

    @rule()
    def silence(self) -> None:
        self.now += 4.0

    @rule(share=st.sampled_from((0, 5000, WHOLE)))
    def set_share(self, share: int) -> None:
        self.shares[self.owner] = share
        self.version += 1

    @rule()
    def move(self) -> None:
        """Move the owner: the fence is raised, all is applied, and then the other one may write."""
        self.bring(self.owner.other, self.bases[self.owner].end)
        self.owner = self.owner.other
        self.version += 1
        self.moved_at = self.version

    @rule(at=st.sampled_from(WORKERS))
    def adopt(self, at: int) -> None:
        self.workers[at].table = self.published()


Visits.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestVisits = Visits.TestCase
