"""Names of what runs for a capability, and what two of them may both mean."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from strangler.project.named import means, overlap

NAMES = st.text("ab.", min_size=1, max_size=4)
SAID = st.builds("{}{}".format, NAMES, st.sampled_from(["", "*"]))


@given(SAID, SAID, NAMES)
def test_two_that_both_mean_a_name_overlap(one: str, other: str, name: str) -> None:
    if means(one, name) and means(other, name):
        assert overlap(one, other)


@given(SAID, SAID)
def test_two_that_overlap_both_mean_the_longer_of_them(one: str, other: str) -> None:
    longer = max(one.rstrip("*"), other.rstrip("*"), key=len)
    assert overlap(one, other) == (means(one, longer) and means(other, longer))


@given(NAMES, NAMES)
def test_a_name_means_itself_alone_and_a_beginning_all_that_begin_so(one: str, other: str) -> None:
    assert means(one, other) == (one == other)
    assert means(f"{one}*", one + other)
