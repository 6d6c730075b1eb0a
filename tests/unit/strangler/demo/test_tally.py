"""The stacks' access logs, read while they grow."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from strangler.capability import Stack
from strangler.demo.tally import AccessLog, Tally
from strangler.demo.traffic import Ask

RUN = "0123abcd"
LINE = re.compile(r"(?P<path>/\S*) (?P<trace>[0-9a-f]{32})")


def log(file: Path, stack: Stack = Stack.MONOLITH) -> AccessLog:
    return AccessLog(stack=stack, file=file, line=LINE)


@given(crowd=st.integers(0, 0xFFFF), visitor=st.integers(0, (1 << 64) - 1), visit=st.integers(0, 0xFFFF))
def test_a_trace_tells_who_asked(crowd: int, visitor: int, visit: int) -> None:
    ask = Ask(crowd=crowd, visitor=visitor, visit=visit)
    trace = ask.trace(RUN)
    assert (len(trace), trace[:8]) == (32, RUN)
    assert Ask.of(trace) == ask


def test_lines_are_read_once_and_whole(tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    file.write_text(f"GET /before {'0' * 32}\n")
    reader = log(file)
    reader.skip()
    with file.open("a") as growing:
        growing.write(f"GET /a {'1' * 32}\nGET /b {'2' * 30}")
        growing.flush()
        assert reader.news() == [("/a", "1" * 32)]
        growing.write("22\nstarted worker 7\n")
        growing.flush()
        assert reader.news() == [("/b", "2" * 32)]
    assert reader.news() == []


def test_a_log_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    reader = log(tmp_path / "access.log")
    reader.skip()
    assert reader.news() == []


def test_only_the_runs_own_requests_for_the_capability_count(tmp_path: Path) -> None:
    files = {stack: tmp_path / stack for stack in Stack}
    tally = Tally(run=RUN, paths=frozenset({"/a"}), logs=[log(file, stack) for stack, file in files.items()])
    tally.start()
    first, second = Ask(crowd=1, visitor=7, visit=0), Ask(crowd=1, visitor=7, visit=1)
    strange = "f" * 32
    files[Stack.MONOLITH].write_text(f"/a {first.trace(RUN)}\n/a {strange}\n/other {second.trace(RUN)}\n")
    files[Stack.SERVICE].write_text(f"/a {second.trace(RUN)}\n")
    tally.read()
    assert tally.of_crowd(1) == {first: [Stack.MONOLITH], second: [Stack.SERVICE]}
    assert tally.of_crowd(2) == {}
