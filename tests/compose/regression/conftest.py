"""The regression suite on the stacks in containers: its own modules are taken over, with other fixtures beneath them.

There is one proxy here, whose shares are set, and one owner of the data, who is moved; so the tests of a module are
sorted by what they want, and each state is made once.
"""

from __future__ import annotations

import inspect
import re
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from compose import stack
from strangler.capability import Stack as Owner
from strangler.project import Project
from strangler.regression.addresses import StackAddresses
from strangler.regression.plugin import capability_of
from strangler.regression.record import Record
from strangler.regression.stack import Stack
from strangler.regression.surface import Surface
from strangler.routing.keys import Keys
from strangler_proxy.vouch import Signer
from tests.compose.regression.standing import Rows, ShopInContainers, Standing
from tests.compose.running import Running
from tests.fixtures.shop import shop_project
from tests.regression.people import People
from tests.regression.promised import surfaces
from tests.regression.remembering import both_stacks, remembered
from tests.regression.stacks import PUBLIC_NAME, Share
from tests.regression.through import SHARES, Remembered, Through, by_stack

__all__ = ["both_stacks", "remembered", "shop_project"]

HERE: Final = Path(__file__).parent
# Beats first: what they have sent is done before a worker has stopped.
BY_THE_CLOCK: Final = ("monolith-beat", "reviews-beat", "monolith-worker", "reviews-worker")
SERVICES: Final = ("catalog", "reviews", "recommendations", "wishlist")
_SAMPLE: Final = re.compile(r"^strangler_proxy_requests_total(\{.*\}) (\S+)$", re.MULTILINE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests of each module: reads by the share, then writes by the owner, then what looks at both.

    They come after all others, since containers rest from then on.
    """
    ours = [item for item in items if HERE in item.path.parents]
    order = {path: number for number, path in enumerate(dict.fromkeys(item.path for item in ours))}
    others = [item for item in items if HERE not in item.path.parents]
    items[:] = [*others, *sorted(ours, key=lambda item: (order[item.path], *_wanted(item)))]


def _wanted(item: pytest.Item) -> tuple[bool, bool, bool, int]:
    assert isinstance(item, pytest.Function)
    share = item.callspec.params.get("through") if hasattr(item, "callspec") else None
    writes = "rows" in inspect.signature(item.obj).parameters
    if not isinstance(share, Share):
        return writes, writes, False, 0
    return writes, False, share.owner is Owner.SERVICE, share.share


@pytest.fixture(scope="session")
def shop(running: Running, shop_project: Project) -> Iterator[ShopInContainers]:
    """The shop's databases and commands, while no clock changes its rows: carts expire, and stock returns."""
    for name in BY_THE_CLOCK:
        running.engine.call("stop", "--time", "60", running.one(name))
    running.until_followed()
    yield ShopInContainers(running, shop_project)
    for name in BY_THE_CLOCK:
        running.engine.call("start", running.one(name))
    running.until_healthy(*BY_THE_CLOCK)


@pytest.fixture(scope="session")
def stack_addresses(running: Running, shop: ShopInContainers) -> StackAddresses:
    """Where the stacks answer: the containers' own addresses, under one public name."""
    return StackAddresses(
        monolith=running.direct("monolith"),
        services={name: running.direct(name) for name in SERVICES},
        proxy=running.address,
        asked_as=PUBLIC_NAME,
    )


@pytest.fixture(scope="session")
def keys() -> Keys:
    return Keys.derive((stack.SECRETS / "strangler_secret").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def credentials(shop: ShopInContainers, keys: Keys) -> People:
    return People(shop, Signer(keys.identity))


@pytest.fixture(scope="module")
def standing(running: Running, shop_project: Project) -> Iterator[Standing]:
    """Shares and owners; at the end of a module they are what they were."""
    found = Standing(running, shop_project)
    yield found
    for name in shop_project.capabilities:
        if name in found.changed:
            found.begin(name)


@pytest.fixture
def proxied(standing: Standing, proxy: Stack) -> Callable[[Share], Stack]:
    """Ask the proxy at some share."""

    def ask(share: Share) -> Stack:
        standing.at(share)
        return proxy

    return ask


@pytest.fixture
def answered(running: Running, proxied: Callable[[Share], Stack]) -> Callable[[Share], Counter[str]]:
    """Tell how many requests each stack has answered."""

    def count(share: Share) -> Counter[str]:
        proxied(share)
        with urllib.request.urlopen(f"{running.direct('proxy', 8900)}/metrics", timeout=10) as said:
            samples = _SAMPLE.findall(said.read().decode())
        return by_stack({labels: float(number) for labels, number in samples})

    return count


@pytest.fixture(params=SHARES, ids=str)
def through(
    request: pytest.FixtureRequest,
    monolith: Stack,
    service: Stack,
    proxied: Callable[[Share], Stack],
    keys: Keys,
    remembered: Remembered,
    compared: Record,
) -> Through:
    """The proxy, at the share that a test wants."""
    share = replace(request.param, capability=str(capability_of(request.node)))
    return Through(
        share=share,
        proxy=proxied(share),
        monolith=monolith,
        service=service,
        note=compared.note,
        directly=remembered,
        keys=keys,
    )


@pytest.fixture(scope="session")
def promised(shop: ShopInContainers) -> dict[str, Surface]:
    """What the monolith promises, by capability."""
    return surfaces(shop)


@pytest.fixture(scope="module")
def rows(shop: ShopInContainers, standing: Standing, running: Running) -> Iterator[Rows]:
    """The reviews' rows, the same at the end as at the beginning, and with them the monolith as their owner."""
    with ExitStack() as exits:
        found = Rows(shop, standing, exits)
        yield found
        standing.owned("reviews", Owner.MONOLITH)
        found.again()
        found.settled()
        running.until_followed()
