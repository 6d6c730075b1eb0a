"""Where a server's history left a timeline, as PostgreSQL writes it."""

from __future__ import annotations

import pytest

from strangler.sync.walsender import left_at

HISTORY = """\
1\t0/3000148\tno recovery target specified

2\t1/A0\tbefore 2026-01-02 03:04:05.678901+00

# a comment
"""


@pytest.mark.parametrize(("timeline", "left"), [(1, 0x3000148), (2, 0x1_000000A0), (3, None), (0, None)])
def test_where_a_timeline_was_left(timeline: int, left: int | None) -> None:
    assert left_at(HISTORY, timeline) == left
