"""What the shop learns of its clients behind the proxy: whom it counts by, and whether they came by https.

Clients come from addresses of their own on the loopback network; 127.0.0.2 is a balancer that the proxy trusts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import httpx
import pytest

from tests.fixtures.proxy import SETTINGS, Proxy, routing_table
from tests.fixtures.shop import MONOLITH, Shop
from tests.regression.own.process import Process
from tests.regression.stacks import GUNICORN

BALANCER, BROWSER, OTHER = "127.0.0.2", "127.0.0.3", "127.0.0.4"
TRUSTING = replace(SETTINGS, trusted=(ip_network(BALANCER),))
# By Django REST Framework's own setting, which counts proxies, or by middleware that gives all of the shop the address.
WAYS = {
    "NUM_PROXIES": ("1", "2"),
    "STRANGLER_PROXIES": ("127.0.0.1", f"127.0.0.1,{BALANCER}"),
}


@contextmanager
def behind(shop: Shop, folder: Path, **said: str) -> Iterator[str]:
    """Run the shop behind a proxy, and yield where the proxy is."""
    environment = {**shop.environment, "ANONYMOUS_WRITES": "2/min", **said}
    with (
        Process.started(GUNICORN, MONOLITH, environment, folder / "shop.log") as process,
        Proxy(TRUSTING, routing_table(process.url)) as proxy,
    ):
        yield f"http://127.0.0.1:{proxy.port}"


def client(url: str, address: str) -> httpx.Client:
    return httpx.Client(base_url=url, transport=httpx.HTTPTransport(local_address=address), timeout=30)


def logins(url: str, address: str, count: int = 3, forwarded: str = "") -> list[int]:
    """Return the statuses of attempts to log in from an address: two a minute are heard."""
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    with client(url, address) as asking:
        attempt = {"username": "nobody", "password": "wrong"}
        return [asking.post("/api/auth/token/", json=attempt, headers=headers).status_code for _ in range(count)]


@pytest.mark.parametrize("way", WAYS)
def test_clients_are_counted_by_their_own_address(shop: Shop, tmp_path: Path, way: str) -> None:
    with behind(shop, tmp_path, **{way: WAYS[way][0]}) as url:
        assert logins(url, BROWSER) == [400, 400, 429]
        assert logins(url, BROWSER, 1, "192.0.2.66") == [429]
        assert logins(url, OTHER) == [400, 400, 429]


@pytest.mark.parametrize("way", WAYS)
def test_clients_behind_a_balancer_are_counted_by_what_it_says(shop: Shop, tmp_path: Path, way: str) -> None:
    with behind(shop, tmp_path, **{way: WAYS[way][1]}) as url:
        for visitor in ("192.0.2.7", "192.0.2.66, 192.0.2.8", "2001:db8::7"):
            assert logins(url, BALANCER, forwarded=visitor) == [400, 400, 429]
        assert logins(url, BALANCER, 1, "192.0.2.67, 192.0.2.8") == [429]


def test_without_a_word_of_it_all_are_one_client(shop: Shop, tmp_path: Path) -> None:
    with behind(shop, tmp_path) as url:
        assert logins(url, BROWSER, 2) == [400, 400]
        assert logins(url, OTHER, 1) == [429]


@pytest.mark.parametrize(
    ("address", "said", "scheme"),
    [
        (BALANCER, "https", "https"),
        (BALANCER, "http", "http"),
        (BROWSER, "https", "http"),
        (BALANCER, "gopher", "http"),
    ],
)
def test_https_is_believed_of_the_balancer_only(
    shop: Shop, tmp_path: Path, address: str, said: str, scheme: str
) -> None:
    with (
        behind(shop, tmp_path, SECURE_PROXY_SSL_HEADER="X-Forwarded-Proto:https") as url,
        client(url, address) as asking,
    ):
        page = asking.get("/api/catalog/products/?page_size=1", headers={"X-Forwarded-Proto": said}).json()
    assert page["next"].startswith(f"{scheme}://")
