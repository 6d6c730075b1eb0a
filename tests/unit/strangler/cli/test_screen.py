"""What a person sees, at every width."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from strangler.cli.frame import Frame, Proxy, Row, Side
from strangler.cli.screen import SORTS, screen
from strangler.sync.telling import duration

PROXY = Proxy(name="10.0.0.4:8900", versions=(17,), age=7512.0, workers=2, connections=1312, in_flight=40)
CATALOG = Row(
    capability="catalog",
    stage="canary",
    share=0.25,
    monolith=Side(rate=1834.2, errors=0.0, p50=0.0214, p99=0.143),
    service=Side(rate=611.7, errors=0.002, p50=0.0042, p99=0.0181),
    errors=0.0005,
    in_flight=38,
    breaker="half_open",
    retries=3.25,
)
REST = Row(capability="", monolith=Side(rate=0.25, errors=0.0, p50=0.0123, p99=0.0871), errors=0.0, breaker="closed")
KILLED = Row(capability="reviews", stage="canary", share=0.0, killed=True, held=4, fallbacks=2)
FRAME = Frame(
    seconds=1.0,
    proxies=(PROXY,),
    rows=(REST, CATALOG, KILLED),
    total=replace(CATALOG, capability="", stage=None, share=None, breaker=None),
    refused={"shed": 12.0},
)


def shown(frame: Frame, width: int, sort: str = "n", height: int | None = None) -> list[str]:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(screen(frame, width, sort, height))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_eighty_columns() -> None:
    assert shown(FRAME, 80) == [
        "10.0.0.4:8900 · table 17, 2 h 5 min old · 2 workers · 1,312 connections · 40 in…",
        "",
        "              reads monolith monolith service service errors     in",
        "capability        %    req/s   p99 ms   req/s  p99 ms      % flight",
        "catalog          25    1,834      143     612    18.1    0.1     38",
        "reviews           0        0        –       0       –      –      –",
        "no\u00a0capability     –      0.2     87.1       0       –      0      –",
        "all               –    1,834      143     612    18.1    0.1     38",
        "",
        "catalog: breaker half open, 3.2 retries/s",
        "reviews: killed, 4 held, 2.0 fallbacks/s",
        "not let through: shed 12.0/s",
    ]


def test_a_wide_terminal_has_every_column_and_needs_no_words() -> None:
    lines = [" ".join(line.split()) for line in shown(FRAME, 150)]
    assert lines[2] == "reads monolith monolith monolith service service service errors in fallbacks retries"
    assert lines[4] == "catalog canary 25 1,834 21.4 143 612 4.2 18.1 0.1 38 0 half open 0 3.2"
    assert lines[5] == "reviews killed 0 0 – – 0 – – – – 4 – 2.0 0"
    assert lines[8:] == ["", "not let through: shed 12.0/s"]


@given(st.integers(60, 250), st.sampled_from(sorted(SORTS)), st.integers(14, 60))
def test_no_line_is_longer_than_the_terminal_nor_the_screen_higher(width: int, sort: str, height: int) -> None:
    rows = tuple(replace(CATALOG, capability=f"a-capability-{number}") for number in range(50))
    many = replace(FRAME, rows=rows)
    lines = shown(many, width, sort, height)
    assert max(map(len, lines)) <= width
    assert len(lines) <= height


@pytest.mark.parametrize("width", [80, 99, 100, 120, 131, 132, 140, 159, 160, 200])
def test_only_names_are_ever_cut(width: int) -> None:
    row = replace(CATALOG, capability="a-capability-with-a-long-name", stage="monolith", monolith=Side(rate=12345.6))
    busy = replace(FRAME, rows=(row, REST), total=replace(FRAME.total, monolith=Side(rate=12345.6)))
    lines = shown(busy, width)
    cut = [word for line in lines[2:7] for word in line.split() if "…" in word]
    assert cut in ([], [lines[4].split()[0]])
    assert len(lines[2:7]) == 5
    assert "12,346" in lines[4]


def test_what_does_not_fit_is_counted() -> None:
    many = replace(FRAME, rows=tuple(replace(REST, capability=f"a{n}") for n in range(50)), refused={})
    lines = shown(many, 80, height=20)
    assert len(lines) <= 20
    assert "and 38 more" in lines


@pytest.mark.parametrize(
    ("sort", "first"), [("n", "catalog"), ("r", "catalog"), ("e", "catalog"), ("l", "catalog"), ("f", "catalog")]
)
def test_rows_are_sorted(sort: str, first: str) -> None:
    assert shown(FRAME, 80, sort)[4].startswith(first)


def test_nobody_answers() -> None:
    away = Proxy(name="10.0.0.4:8900", away="connection refused")
    frame = Frame(
        seconds=0.0, proxies=(away, replace(away, name="b", away=None)), rows=(), total=Row(capability=""), refused={}
    )
    assert shown(frame, 80) == ["10.0.0.4:8900 away: connection refused", "b no worker serves"]


def test_what_is_out_of_the_ordinary_with_a_proxy_comes_first() -> None:
    odd = replace(PROXY, versions=(16, 17), age=3.0, lag=0.31, without=("valkey",), resident=198_000_000)
    assert shown(replace(FRAME, proxies=(odd,)), 150)[0] == (
        "10.0.0.4:8900 · tables 16 and 17, 3 s old · without valkey · a loop was 310 ms late · 2 workers · "
        "1,312 connections · 40 in flight · 198 MB"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (125, "2 min 5 s"),
        (7512, "2 h 5 min"),
        (90_000, "1 d 1 h"),
        (-1, "0 s"),
    ],
)
def test_times_have_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text
