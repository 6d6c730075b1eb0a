from __future__ import annotations

import hashlib
import json
import struct
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler.capability import WHOLE
from strangler.routing.bucket import bucket

VECTORS = json.loads((Path(__file__).parents[3] / "vectors" / "bucket.json").read_text(encoding="utf-8"))
COUNT = 100_000
CELLS = 100
# The upper 0.1 % point of chi-square with 99 degrees of freedom.
CRITICAL = 148.2


def ids(count: int) -> list[str]:
    random = Random(20250301)
    return [f"{random.getrandbits(128):032x}" for _ in range(count)]


def chi_square(counts: Counter[int], cells: int, count: int) -> float:
    expected = count / cells
    return sum((counts[cell] - expected) ** 2 / expected for cell in range(cells))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: repr(vector["visitor"])[:20])
def test_a_vector_has_its_bucket(vector: dict[str, Any]) -> None:
    assert bucket(vector["capability"], vector["visitor"]) == vector["bucket"]


def test_the_vectors_reach_every_tenth_of_the_buckets_and_both_ends() -> None:
    buckets = {vector["bucket"] for vector in VECTORS}
    assert len(VECTORS) >= 30
    assert {each // 1_000 for each in buckets} == set(range(10))
    assert {0, WHOLE - 1} <= buckets


@given(st.text(), st.text())
def test_a_bucket_is_what_other_languages_are_told_to_compute(capability: str, visitor: str) -> None:
    """In steps of 64 bits, as the vectors' README tells it."""
    digest = hashlib.sha256(capability.encode() + b"\0" + visitor.encode()).digest()
    high, low = struct.unpack(">II", digest[:8])
    product_high = high * WHOLE + (low * WHOLE >> 32)
    assert bucket(capability, visitor) == product_high >> 32


def test_random_visitors_fill_the_buckets_evenly() -> None:
    counts = Counter(bucket("catalog", visitor) * CELLS // WHOLE for visitor in ids(COUNT))
    assert chi_square(counts, CELLS, COUNT) < CRITICAL


def test_visitors_numbered_in_a_row_fill_the_buckets_evenly() -> None:
    counts = Counter(bucket("catalog", str(number)) * CELLS // WHOLE for number in range(COUNT))
    assert chi_square(counts, CELLS, COUNT) < CRITICAL


def test_who_is_early_for_one_capability_is_not_early_for_another() -> None:
    """Pearson's test of independence over a 10 by 10 table of both buckets."""
    pairs = Counter((bucket("catalog", each) // 1_000, bucket("reviews", each) // 1_000) for each in ids(COUNT))
    expected = COUNT / 100
    statistic = sum((pairs[row, column] - expected) ** 2 / expected for row in range(10) for column in range(10))
    assert statistic < CRITICAL


@given(st.text(), st.text())
def test_a_bucket_lies_below_the_whole(capability: str, visitor: str) -> None:
    assert 0 <= bucket(capability, visitor) < WHOLE


@given(st.integers(0, WHOLE), st.integers(0, WHOLE))
def test_raising_a_share_keeps_every_visitor_and_lowering_takes_the_surplus_only(one: int, other: int) -> None:
    low, high = sorted((one, other))
    at_low, at_high = ({each for each in SOME if SOME[each] < share} for share in (low, high))
    assert at_low <= at_high
    assert all(low <= SOME[each] < high for each in at_high - at_low)


SOME = {visitor: bucket("catalog", visitor) for visitor in ids(500)}


def test_lone_surrogates_have_a_bucket_too() -> None:
    assert 0 <= bucket("catalog", "\ud800") < WHOLE
