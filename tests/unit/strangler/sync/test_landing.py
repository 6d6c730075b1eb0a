"""Rows as COPY reads them: what is sent as a line comes to the same values."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from strangler.sync.landing import line
from strangler.sync.pgoutput import UNCHANGED, Value

ESCAPED = {b"\\\\": b"\\", b"\\t": b"\t", b"\\n": b"\n", b"\\r": b"\r"}
values = st.one_of(
    st.none(), st.just(UNCHANGED), st.binary(max_size=5), st.text("ab\\\t\n\rN", max_size=5).map(str.encode)
)


def read(field: bytes) -> bytes | None:
    """Return what COPY takes a field for, after "Text Format" in PostgreSQL's documentation of COPY."""
    if field == b"\\N":
        return None
    found, at = b"", 0
    while at < len(field):
        size = 2 if field[at : at + 1] == b"\\" else 1
        found += ESCAPED[field[at : at + 2]] if size == 2 else field[at : at + 1]
        at += size
    return found


@given(st.integers(-1, 9), st.lists(values, min_size=1, max_size=4).map(tuple))
def test_a_line_has_the_values_of_its_row(part: int, row: tuple[Value, ...]) -> None:
    sent = line(part, row)
    assert sent.endswith(b"\n")
    assert sent.count(b"\n") == 1
    assert b"\r" not in sent
    first, *fields = sent[:-1].split(b"\t")
    assert int(first) == part
    assert [read(field) for field in fields] == [None if value is UNCHANGED else value for value in row]
