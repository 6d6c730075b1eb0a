from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strangler.routing.path import readings

# Three depths of decoding, seven other steps done or not, three ways to take "..".
MOST = 3 * 2**7 * 3
LONGEST = 8 * 1024

odd = st.lists(
    st.sampled_from(
        b"/ // a b api catalog . .. /.. /../ %2e %2E %2f %252e %252f %5c %255c \\ ; ;v=1 %3b %00 \0 %3f %23 %41 % %2"
        b" %zz %c0%af %25 ~ +".split()
    ),
    max_size=12,
).map(b"".join)
plain = st.from_regex(rb"(/[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9._~!$&'()*+,=:@-]*){0,6}/?", fullmatch=True)


def canonical(path: bytes) -> tuple[str, ...]:
    return readings(path)[0]


@given(st.binary(max_size=200) | odd)
def test_any_bytes_have_at_least_one_reading_and_not_too_many(path: bytes) -> None:
    found = readings(path)
    assert 1 <= len(found) <= MOST
    assert len(set(found)) == len(found)


@given(plain)
def test_a_plain_path_has_one_reading(path: bytes) -> None:
    assert readings(path) == (tuple(part for part in path.decode().split("/") if part),)


@given(st.binary(max_size=100) | odd)
@settings(max_examples=500)
def test_the_canonical_reading_of_the_canonical_reading_is_itself(path: bytes) -> None:
    first = canonical(path)
    assert canonical(b"/" + "/".join(first).encode("latin-1")) == first


@given(st.binary(max_size=100) | odd)
@settings(max_examples=500)
def test_no_reading_has_an_empty_or_single_dot_segment(path: bytes) -> None:
    assert not any(segment in ("", ".") for found in readings(path) for segment in found)


@given(st.binary(max_size=60) | odd, st.binary(max_size=20))
def test_escaping_an_unreserved_character_changes_no_reading(path: bytes, more: bytes) -> None:
    assert canonical(path + b"/catalog/" + more) == canonical(path + b"/c%61tal%6Fg/" + more)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/api/catalog/", {"api/catalog"}),
        (b"", {""}),
        (b"*", {"*"}),
        (b"//api///catalog", {"api/catalog"}),
        (b"/api/./catalog/.", {"api/catalog"}),
        (b"/.well-known/x", {".well-known/x"}),
        (b"/a/../b", {"b", "a/../b"}),
        (b"../b", {"b", "../b"}),
        (b"/a/b//../c", {"a/b/c", "a/c", "a/b/../c"}),
        (b"/a/./../c", {"c", "a/../c"}),
        (b"/%61%2D%7e", {"a-~"}),
        (b"/a%2fb", {"a%2Fb", "a/b"}),
        (b"/a%252fb", {"a%252fb", "a%2fb", "a/b"}),
        (b"/a%25252fb", {"a%25252fb", "a%252fb", "a%2fb"}),
        (b"/a%", {"a%25", "a%"}),
        (b"/a\\b", {"a\\b", "a/b"}),
        (b"/a%5cb", {"a%5Cb", "a\\b", "a/b"}),
        (b"/a;v=1/b", {"a;v=1/b", "a/b"}),
        (b"/a%3bv/b", {"a%3Bv/b", "a;v/b", "a/b"}),
        (b"/a;%2fb/c%2fd", {"a;%2Fb/c%2Fd", "a/c%2Fd", "a;/b/c/d", "a/c/d", "a/b/c/d"}),
        (b"/a%5cb\\c", {"a%5Cb\\c", "a%5Cb/c", "a\\b\\c", "a\\b/c", "a/b/c"}),
        (b"/a/../b%2f..", {"b%2F..", "a/../b%2F..", "b/..", "", "a/../b/.."}),
        (b"/a\0b", {"a\0b", "a"}),
        (b"/a%00b", {"a%00b", "a\0b", "a"}),
        (b"/a%3fb", {"a%3Fb", "a?b", "a"}),
        (b"/a%23b", {"a%23b", "a#b", "a"}),
        (b"/k%c3%a4se", {"k%C3%A4se", "k\xc3\xa4se"}),
        (b"/a%c0%afb", {"a%C0%AFb", "a\xc0\xafb"}),
    ],
)
def test_a_path_has_these_readings(path: bytes, expected: set[str]) -> None:
    assert {"/".join(found) for found in readings(path)} == expected


def test_what_would_take_too_long_has_no_reading() -> None:
    every = b"/a;%2e\\%252f..%2f//..%00%3f%253b%255c"
    assert readings(every)
    assert readings(every * (LONGEST // len(every))) == ()


def test_a_long_path_that_is_odd_in_few_ways_has_its_readings() -> None:
    url = b"/files/https%3A%2F%2Fshop.example%2Fk%C3%A4se%3Fa%3Db%26c%3Dd%2520e%23top"
    name = b"%E6%9D%B1%E4%BA%AC" * 400
    assert len(readings((url + name).ljust(LONGEST, b"x"))) == 4


@pytest.mark.parametrize(
    "unit",
    [
        b"/a",
        b"/",
        b"/..",
        b"/../",
        b"/a/..",
        b"%2e%2f",
        b"/%2e%252e",
        b"/%E4",
        b"%",
        b"%25",
        b"\\..",
        b";",
        b"/a;%2e\\%252f..%2f//..",
    ],
)
def test_eight_kilobytes_of_malice_are_read_in_bounded_time(unit: bytes) -> None:
    """Measured: 2.3 ms for %2e%2f, 0.8 ms for /../, 6 ms for percent signs, the slowest; a usual path 0.001 ms."""
    tail = b"%00/..%3f/..%2500;x\\..%255c..%253fz"
    path = (unit * LONGEST)[: LONGEST - len(tail)] + tail
    start = time.process_time()
    found = readings(path)
    assert time.process_time() - start < 0.1
    assert len(found) <= MOST
