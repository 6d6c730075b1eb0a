"""Both stacks of the shop over the same rows, and proxies before them, under the same public name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Final

import psycopg
import pytest

from strangler.regression.plugin import capability_of
from strangler.regression.record import Record
from strangler.regression.stack import Stack
from strangler.regression.surface import Surface
from strangler.routing.keys import Keys
from tests.fixtures.proxy import KEYS
from tests.fixtures.reviewed import left, restore_over
from tests.fixtures.shop import Shop, shop, shop_project
from tests.regression.people import People
from tests.regression.promised import surfaces
from tests.regression.remembering import both_stacks, remembered
from tests.regression.stacks import PUBLIC_NAME, SIGNER, Share, ShopStacks
from tests.regression.through import HALF, SHARES, Remembered, Through, by_stack

__all__ = ["both_stacks", "remembered", "shop", "shop_project"]

Proxied = Callable[[Share], Stack]


@pytest.fixture(scope="session")
def stack_addresses(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShopStacks]:
    with ExitStack() as exits:
        yield ShopStacks(shop, tmp_path_factory.mktemp("stacks"), exits)


@pytest.fixture(scope="session")
def credentials(shop: Shop) -> People:
    return People(shop, SIGNER)


@pytest.fixture(scope="session")
def proxied(stack_addresses: ShopStacks, credentials: People) -> Iterator[Proxied]:
    """Ask a proxy at some share; one connection for each."""
    stacks: dict[Share, Stack] = {}

    def ask(share: Share) -> Stack:
        if share not in stacks:
            stacks[share] = Stack(
                f"http://127.0.0.1:{stack_addresses.proxy(share).port}",
                name=f"proxy ({share})",
                public_name=PUBLIC_NAME,
                credentials=credentials,
            )
        return stacks[share]

    yield ask
    for each in stacks.values():
        each.close()


@pytest.fixture(scope="session")
def keys() -> Keys:
    """By which the proxies know their visitors again."""
    return KEYS


@pytest.fixture
def answered(stack_addresses: ShopStacks) -> Callable[[Share], Counter[str]]:
    """Tell how many requests each stack has answered through the proxy at some share."""
    return lambda share: by_stack(stack_addresses.proxy(share).metric("strangler_proxy_requests_total"))


AT_EACH_SHARE: Final = [
    pytest.param(share, marks=() if share is HALF else (pytest.mark.another_share,)) for share in SHARES
]


@pytest.fixture(params=AT_EACH_SHARE, ids=str)
def through(
    request: pytest.FixtureRequest,
    monolith: Stack,
    service: Stack,
    proxied: Proxied,
    remembered: Remembered,
    compared: Record,
) -> Through:
    """The proxy at each of the shares."""
    share = replace(request.param, capability=str(capability_of(request.node)))
    return Through(
        share=share,
        proxy=proxied(share),
        monolith=monolith,
        service=service,
        note=compared.note,
        directly=remembered,
    )


@pytest.fixture(scope="session")
def promised(shop: Shop) -> dict[str, Surface]:
    """What the monolith promises, by capability."""
    return surfaces(shop)


class Rows:
    """The reviews in the databases of both stacks."""

    def __init__(self, shop: Shop, exits: ExitStack) -> None:
        urls = (shop.monolith, shop.service("reviews"))
        self._connections = [exits.enter_context(psycopg.connect(url, autocommit=True)) for url in urls]

    def again(self) -> None:
        """Make them what they were before anything was written."""
        for each in self._connections:
            restore_over(each)

    def left(self) -> list[list[tuple[object, ...]]]:
        """Return those of the monolith, and those of the service."""
        return [left(each) for each in self._connections]


@pytest.fixture(scope="module")
def rows(shop: Shop) -> Iterator[Rows]:
    """The reviews' rows, the same at the end as at the beginning."""
    with ExitStack() as exits:
        found = Rows(shop, exits)
        yield found
        found.again()
