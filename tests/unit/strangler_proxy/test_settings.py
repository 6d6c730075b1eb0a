"""What a worker is told survives the pipe."""

from __future__ import annotations

import json
from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from strangler.project.limits import By, Limits, Rate, Shed, Timeouts
from strangler_proxy.orders import Orders
from strangler_proxy.settings import Asking, Entry, Links, Settings, StackTls, Tracing


def test_orders_survive_the_pipe() -> None:
    settings = Settings(
        worker="host:1:0",
        table="sealed",
        trusted=(ip_network("10.0.0.0/8"), ip_network("::1/128")),
        access_log="-",
        timeouts=Timeouts(drain=1.5),
        limits=Limits(target=10),
        rates=(Rate(name="login", requests=10, per=60.0, methods=("POST",), by=By.CREDENTIAL),),
        shed=Shed(in_flight=100),
        links=Links(secret="not shown"),
        identity=Asking(
            secret="not shown",
            session_cookie="sessionid",
            path="/.strangler/identity/",
            permissions=("app.change_model",),
        ),
        tracing=Tracing(endpoint="http://127.0.0.1:4318/v1/traces", sample=0.5),
        server_timing=True,
        entry=Entry(
            addresses=("127.0.0.1:8000", "tls:[::]:8443"),
            proxy_protocol=(ip_network("192.0.2.0/24"),),
            certificate="shop.pem",
            key="shop.key",
        ),
        stack_tls=StackTls(ca="authority.pem"),
    )
    orders = Orders(settings=settings, listeners=(3, 4), addresses=settings.entry.addresses)
    assert Orders.from_line(orders.to_line()) == orders
    assert json.loads(orders.to_line())["listeners"] == [3, 4]
    assert "not shown" not in f"{orders!r} {settings.identity!r}"


secrets = st.sampled_from(["one", "two", "three"])
links = st.builds(Links, secret=secrets, second_secret=st.just("") | secrets)


@given(links, links)
def test_other_secrets_follow_only_where_both_believe_what_the_other_signs(before: Links, after: Links) -> None:
    def believes(one: Links, other: Links) -> bool:
        return other.secret in (one.secret, one.second_secret)

    assert (before.why_not(after) == "") == (believes(before, after) and believes(after, before))


def test_links_are_not_printed() -> None:
    assert "hidden" not in repr(Links(database="hidden", redis="hidden", secret="hidden", second_secret="hidden"))
