"""Addresses: what each says, and what is wrong with what says nothing."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strangler.routing.address import (
    AddressInvalid,
    Endpoint,
    Listen,
    parse_endpoint,
    parse_listen,
    plain_address,
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1:8000", Listen(host="127.0.0.1", port=8000)),
        ("0.0.0.0:0", Listen(host="0.0.0.0", port=0)),
        ("[::1]:8000", Listen(host="::1", port=8000)),
        ("[fe80::1%eth0]:80", Listen(host="fe80::1%eth0", port=80)),
        ("shop_1.internal:65535", Listen(host="shop_1.internal", port=65535)),
        ("tls:[::]:8443", Listen(host="::", port=8443, secure=True)),
        ("unix:/run/shop:1.sock", Listen(path="/run/shop:1.sock")),
    ],
)
def test_where_to_listen(text: str, found: Listen) -> None:
    assert parse_listen(text) == found
    assert str(found) == text


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("0.0.0.0:80", "http://127.0.0.1:80"),
        ("[::]:8000", "http://[::1]:8000"),
        ("tls:shop:443", "https://shop:443"),
        ("unix:/run/shop.sock", ""),
    ],
)
def test_where_it_is_asked_from_the_same_machine(text: str, url: str) -> None:
    assert parse_listen(text).url == url


@pytest.mark.parametrize(
    ("text", "found", "authority"),
    [
        ("http://127.0.0.1:8001", Endpoint(host="127.0.0.1", port=8001), "127.0.0.1:8001"),
        ("http://shop", Endpoint(host="shop", port=80), "shop"),
        ("http://shop/", Endpoint(host="shop", port=80), "shop"),
        ("https://shop.example.com", Endpoint(host="shop.example.com", port=443, secure=True), "shop.example.com"),
        ("https://[::1]:80", Endpoint(host="::1", port=80, secure=True), "[::1]:80"),
        ("http://[fe80::1%eth0]", Endpoint(host="fe80::1%eth0", port=80), "[fe80::1]"),
        ("unix:/run/shop.sock", Endpoint(path="/run/shop.sock"), "localhost"),
    ],
)
def test_whom_to_ask(text: str, found: Endpoint, authority: str) -> None:
    assert parse_endpoint(text) == found
    assert parse_endpoint(str(found)) == found
    assert found.authority == authority


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "there is no port"),
        ("8000", "there is no port"),
        ("[::1]", "there is no port"),
        ("shop", "there is no port"),
        ("tls:8443", "there is no port"),
        (":8000", "there is no host"),
        ("shop:", "its port is no number"),
        ("shop:http", "its port is no number"),
        ("shop:-1", "its port is no number"),
        ("shop:²", "its port is no number"),
        ("shop:65536", "its port is beyond 65535"),
        ("shop:" + "9" * 5_000, "its port is beyond 65535"),
        ("::1:8000", "an IPv6 address stands in brackets"),
        ("[127.0.0.1]:80", "what stands in brackets is no IPv6 address"),
        ("[fe80::1%\n]:80", "what stands in brackets is no IPv6 address"),
        ("127.0.0.256:80", "its host is no IPv4 address"),
        ("127.1:80", "its host is no IPv4 address"),
        ("-shop:80", "its host is no name"),
        ("a..b:80", "its host is no name"),
        ("sh op:80", "its host is no name"),
        ("shöp:80", "its host is no name"),
        ("a" * 64 + ":80", "its host is no name"),
        ("a." * 127 + ":80", "its host is no name"),
        ("unix:run/shop.sock", "a Unix socket's path begins with /"),
        ("unix:@shop", "a Unix socket's path begins with /"),
        ("unix:/a\0b", "its path holds a NUL"),
        ("unix:/" + "ä" * 54, "a Unix socket's path has 107 bytes at most"),
        ("tls:unix:/run/shop.sock", "its port is no number"),
    ],
)
def test_nowhere_to_listen(text: str, reason: str) -> None:
    with pytest.raises(AddressInvalid) as invalid:
        parse_listen(text)
    assert str(invalid.value) == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it begins with none of http://, https:// and unix:"),
        ("127.0.0.1:8001", "it begins with none of http://, https:// and unix:"),
        ("ftp://shop", "it begins with none of http://, https:// and unix:"),
        ("http:///api", "it has more than a host and a port"),
        ("http://", "there is no host"),
        ("http://shop/api", "it has more than a host and a port"),
        ("http://shop//", "it has more than a host and a port"),
        ("http://shop?a", "it has more than a host and a port"),
        ("http://shop#a", "it has more than a host and a port"),
        ("http://shop\n", "its host is no name"),
        ("http://me:secret@shop", "it has a user"),
        ("http://shop:0", "nobody can be reached at port 0"),
        ("http://shop:", "its port is no number"),
        ("unix://run/shop.sock", "a Unix socket's path begins with one /, not two"),
    ],
)
def test_nobody_to_ask(text: str, reason: str) -> None:
    with pytest.raises(AddressInvalid) as invalid:
        parse_endpoint(text)
    assert str(invalid.value) == reason


@given(st.text() | st.text("[]:/%0159af.@tlsunixhp\0", max_size=40))
def test_anything_is_an_address_or_told_not_to_be(text: str) -> None:
    for parse in (parse_listen, parse_endpoint):
        try:
            found = parse(text)
        except AddressInvalid:
            continue
        assert parse(str(found)) == found


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:0201", "192.0.2.1"),
        ("::ffff:192.0.2.1%eth0", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::1", "::1"),
        ("::192.0.2.1", "::c000:201"),
        ("unix", "unix"),
        ("", ""),
        ("no:address", "no:address"),
    ],
)
def test_a_peer_has_one_name(name: str, plain: str) -> None:
    assert plain_address(name) == plain


@given(st.ip_addresses(v=4))
def test_ipv4_is_the_same_whichever_socket_it_came_to(address: IPv4Address) -> None:
    assert plain_address(str(address)) == plain_address(f"::ffff:{address}") == str(address)


@given(st.ip_addresses(v=6))
def test_a_plain_address_stays(address: IPv6Address) -> None:
    assert plain_address(plain_address(str(address))) == plain_address(address.exploded)
