"""What a decision may ask of a request."""

from __future__ import annotations

from strangler.routing.keys import read_visitor
from strangler_proxy.facts import RequestFacts
from strangler_proxy.forwarded import Peer
from strangler_proxy.http1.head import RequestHead
from tests.fixtures.proxy import KEYS


def facts(target: bytes = b"/", **attributes: object) -> RequestFacts:
    head = RequestHead("GET", target, 1)
    head.path = target.partition(b"?")[0]
    for name, value in attributes.items():
        setattr(head, name, value)
    return RequestFacts(head, Peer("127.0.0.1", ()), KEYS)


def test_host_is_without_port_and_in_lower_case() -> None:
    assert facts(host=b"Shop.Example:80").host == "shop.example"
    assert facts(host=b"[2001:DB8::1]:80").host == "[2001:db8::1]"
    assert facts().host == ""


def test_headers_cookies_and_query() -> None:
    found = facts(b"/a?x=%201&x=2&empty=", lines=[b"X-Beta: yes"], cookies=(b"a=1; b=2",))
    assert (found.header("x-beta"), found.header("x-other")) == ("yes", None)
    assert (found.cookie("b"), found.cookie("c")) == ("2", None)
    assert (found.query_value("x"), found.query_value("empty"), found.query_value("y")) == (" 1", "", None)


def test_too_many_fields_are_no_fact() -> None:
    assert facts(b"/?" + b"a=1&" * 2000 + b"x=1").query_value("x") is None


def test_a_visitor_is_made_once_and_only_when_asked() -> None:
    found = facts()
    assert found.cookie_line == b""
    visitor = found.visitor
    assert visitor == found.visitor
    token = found.cookie_line.split(b"=", 1)[1].split(b";")[0].decode()
    assert read_visitor(token, KEYS) == visitor


def test_a_credential_is_a_visitor_without_cookie() -> None:
    one, same, other = (facts(authorization=value) for value in (b"Token a", b"Token a", b"Token b"))
    assert one.visitor == same.visitor != other.visitor
    assert one.cookie_line == b""
    assert "Token" not in one.visitor
