"""What a header's name means, whatever its spelling."""

from __future__ import annotations

import tracemalloc
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler_proxy.http1.hygiene import (
    Role,
    client_behind,
    find_cookie,
    is_request_id,
    is_traceparent,
    is_trusted,
    role_of,
    split_own_cookies,
    tokens,
    without_nominated,
)

NETWORKS = (ip_network("10.0.0.0/8"), ip_network("::1/128"))


@pytest.mark.parametrize(
    ("name", "role"),
    [
        (b"Accept", Role.PASS),
        (b"X-Requested-With", Role.PASS),
        (b"HOST", Role.HOST),
        (b"content-LENGTH", Role.LENGTH),
        (b"Content_Length", Role.DROP),
        (b"Transfer_Encoding", Role.DROP),
        (b"X-Forwarded-Anything", Role.ORIGINAL),
        (b"X_Forwarded-For", Role.DROP),
        (b"x-strangler-anything", Role.DROP),
        (b"X_Strangler_Override", Role.DROP),
        (b"X-Strangler-Override", Role.OVERRIDE),
        (b"Keep-Alive", Role.DROP),
        (b"Proxy", Role.DROP),
        (b"Strangler-Identity", Role.DROP),
        (b"strangler_IDENTITY", Role.DROP),
        (b"Strangler-Deadline", Role.PASS),
        (b"My_Own", Role.PASS),
    ],
)
def test_roles(name: bytes, role: Role) -> None:
    assert role_of(name) is role


@given(st.from_regex(rb"[A-Za-z_-]{1,20}", fullmatch=True))
def test_spelling_never_lets_a_special_name_pass(name: bytes) -> None:
    if role_of(name.lower().replace(b"_", b"-")) is not Role.PASS:
        assert role_of(name) is not Role.PASS


def test_nominated_headers_go_and_the_rest_stays() -> None:
    lines = [b"X-Mine: 1", b"X-Yours: 2", b"Upgrade-Insecure-Requests: 1"]
    assert without_nominated(lines, tokens([b"close, x-mine", b" keep-alive"])) == lines[1:]


@pytest.mark.parametrize(
    ("cookie", "left"),
    [
        (b"a=1; b=2", b"a=1; b=2"),
        (b"strangler_visitor=x", b""),
        (b"a=1;strangler_override=x;b=2", b"a=1;b=2"),
        (b"a=1; strangler_visitor=x; strangler_other=2", b"a=1; strangler_other=2"),
        (b"a=1; strangler_visitor=x", b"a=1"),
        (b"a=1; strangler_visitor=x; b=2", b"a=1; b=2"),
        (b"a=1; strangler_visitor=x; strangler_visitor=y", b"a=1"),
        (b"my_strangler_visitor=x", b"my_strangler_visitor=x"),
    ],
)
def test_own_cookies_are_taken_out(cookie: bytes, left: bytes) -> None:
    assert split_own_cookies(cookie)[0] == left


@given(st.lists(st.sampled_from([b"a=1", b"strangler_visitor=x", b"strangler_override=y", b"b=strangler_visitor=z"])))
def test_the_first_of_each_own_cookie_is_found(cookies: list[bytes]) -> None:
    left, visitor, override, tokens = split_own_cookies(b"; ".join(cookies))
    own = (b"strangler_visitor=x", b"strangler_override=y")
    assert tokens == {}
    assert (visitor, override) == (b"x" if own[0] in cookies else None, b"y" if own[1] in cookies else None)
    assert left == b"; ".join(cookie for cookie in cookies if cookie not in own)


def test_the_first_cookie_of_a_name_counts() -> None:
    assert find_cookie([b"xa=0; a=1; a=2", b"a=3"], b"a") == b"1"
    assert find_cookie([b"ab=1"], b"a") is None


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        ([], "10.0.0.1"),
        ([b"6.6.6.6"], "6.6.6.6"),
        ([b"1.1.1.1, 6.6.6.6", b"10.0.0.2"], "6.6.6.6"),
        ([b"10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ([b"6.6.6.6, unknown"], "10.0.0.1"),
        ([b"6.6.6.6, _hidden, 10.0.0.2"], "10.0.0.2"),
        ([b"::1"], "::1"),
        ([b"2001:DB8:0::1"], "2001:db8::1"),
        ([b"[2001:db8::1]:4711"], "2001:db8::1"),
        ([b"[2001:db8::1]"], "2001:db8::1"),
        ([b"6.6.6.6:4711"], "6.6.6.6"),
        ([b"7.7.7.7, ::ffff:6.6.6.6"], "6.6.6.6"),
        ([b"6.6.6.6, ::ffff:10.0.0.2"], "6.6.6.6"),
        ([b"6.6.6.6, "], "10.0.0.1"),
    ],
)
def test_the_client_is_the_last_that_nobody_trusted_wrote_for(chain: list[bytes], client: str) -> None:
    assert client_behind("10.0.0.1", chain, NETWORKS) == client


def test_what_is_no_address_is_not_trusted() -> None:
    assert is_trusted("10.1.2.3", NETWORKS)
    assert not is_trusted("unix", NETWORKS)


@pytest.mark.parametrize(
    ("value", "good"),
    [
        (b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", True),
        (b"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", True),
        (b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", False),
        (b"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", False),
        (b"00-00000000000000000000000000000000-00f067aa0ba902b7-01", False),
        (b"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", False),
        (b"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", False),
        (b"", False),
    ],
)
def test_traceparents(value: bytes, good: bool) -> None:
    assert is_traceparent(value) is good


def test_names_that_clients_make_up_are_not_kept() -> None:
    tracemalloc.start()
    for number in range(1000):
        assert role_of(b"x-%d-" % number + b"a" * 10_000) is Role.PASS
    for number in range(100_000):
        assert role_of(b"x-%d" % number) is Role.PASS
    assert role_of(b"X_Forwarded_For") is Role.DROP
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept < 1_000_000


@pytest.mark.parametrize(("value", "good"), [(b"abc-123", True), (b"", False), (b'a"b', False), (b"a" * 129, False)])
def test_request_ids(value: bytes, good: bool) -> None:
    assert is_request_id(value) is good
