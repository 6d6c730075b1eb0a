from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from strangler_proxy.server_timing import server_timing


def test_what_the_proxy_took_and_what_the_stack_took() -> None:
    line = b'Server-Timing: strangler;dur=1.5, upstream;dur=20.0;desc="service"\r\n'
    assert server_timing(0.0215, 0.02, "service") == line


def test_an_answer_of_the_proxy_has_no_stack() -> None:
    assert server_timing(0.0004, None, "") == b"Server-Timing: strangler;dur=0.4\r\n"


def test_nothing_is_shorter_than_nothing() -> None:
    line = b'Server-Timing: strangler;dur=0.0, upstream;dur=3.0;desc="monolith"\r\n'
    assert server_timing(0.002, 0.003, "monolith") == line


@given(st.floats(allow_nan=False), st.none() | st.floats(allow_nan=False))
def test_it_is_one_short_line_whatever_the_clock_says(total: float, upstream: float | None) -> None:
    if upstream is not None and math.isnan(total - upstream):
        return
    line = server_timing(total, upstream, "service")
    assert line.endswith(b"\r\n")
    assert line.count(b"\n") == 1
    assert len(line) < 100
