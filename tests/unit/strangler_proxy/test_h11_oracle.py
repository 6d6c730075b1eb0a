"""Heads and bodies are read as h11 reads them, or refused: by both, or by ours for a reason that has a name."""

from __future__ import annotations

from collections import Counter
from typing import Final

import pytest
from hypothesis import HealthCheck, event, given, settings

from tests.conformance.cases import CASES
from tests.conformance.near import CUTS, REQUESTS, RESPONSES
from tests.conformance.oracle import Disagreement, Message, Refusal, compare, compare_response, judge
from tests.fuzz.connection import Stage
from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS

# What the examples must have come to, in each hundred: near-valid messages, not noise.
LEAST: Final = {"both read": 15, "both refuse": 15, "stricter": 5}
many = settings(max_examples=600, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@many
@given(REQUESTS, CUTS)
def test_requests_are_read_as_h11_reads_them(data: bytes, cuts: list[int]) -> None:
    event(compare(data, cuts))


@many
@given(RESPONSES, CUTS)
def test_responses_are_read_as_h11_reads_them(data: bytes, cuts: list[int]) -> None:
    event(compare_response(data, "GET", cuts))
    event(compare_response(data, "HEAD", cuts))


def test_the_messages_compared_are_nearly_valid() -> None:
    seen: Counter[str] = Counter()

    @settings(many, derandomize=True, max_examples=800)
    @given(REQUESTS)
    def count(data: bytes) -> None:
        seen[compare(data).partition(":")[0]] += 1

    count()
    shares = {how: 100 * seen[how] / seen.total() for how in LEAST}
    assert all(shares[how] >= least for how, least in LEAST.items()), shares


def test_what_the_cases_send_is_read_as_h11_reads_it() -> None:
    for case in CASES:
        sent = b"".join(step for step in case.sends if isinstance(step, bytes))
        compare(sent, range(len(sent)) if len(sent) < 2_000 else ())


READ: Final = Message(first=(), fields={}, framing="none")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (READ, Refusal("x")),
        (Refusal("for no reason"), READ),
        (Refusal("there are several Content-Length headers"), READ),  # and the bytes have none
        (READ, Message(first=(), fields={}, framing="chunked")),
        (None, READ),
    ],
)
def test_a_disagreement_is_seen(ours: Message | Refusal | None, theirs: Message | Refusal | None) -> None:
    with pytest.raises(Disagreement):
        judge(b"GET / HTTP/1.1\r\n\r\n", ours, theirs, theirs)


# It has an endpoint of its own making, which no compiled class can be made into.
interpreted = pytest.mark.interpreted


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=interpreted if name == "connection" else ()) for name in TARGETS]
)
def test_what_is_fuzzed_holds_for_what_fuzzing_begins_with(name: str) -> None:
    for seed in seeds(name):
        TARGETS[name](seed)


@interpreted
def test_a_connection_without_sockets_is_answered() -> None:
    stage = Stage()
    got, arrived = stage.play(
        [b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"], [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nz"]
    )
    stage.close()
    assert got == b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nz"
    assert [each.partition(b"\r\n")[0] for each in arrived] == [b"GET /a HTTP/1.1"]
