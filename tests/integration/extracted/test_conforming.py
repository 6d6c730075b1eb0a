"""Each extracted service may stand behind the proxy, as far as a machine can tell."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Final

import pytest

from strangler.conforming import Bounds, Finding, Subject, Verdict, examine
from strangler.routing.keys import Keys
from tests.fixtures.ports import free_port
from tests.fixtures.proxy import SECRET
from tests.fixtures.shop import SERVICES, Shop
from tests.regression.stacks import ShopStacks

pytestmark = pytest.mark.slow

SEED: Final = Keys.derive(SECRET).identity
NAMES: Final = ("catalog", "recommendations", "reviews", "wishlist")
LIMITS: Final = Bounds(slow=12)
# Who asks makes no difference to the catalog: what it would believe cannot be seen.
UNSEEN: Final = {"catalog": {"identity.refused"}}


@pytest.fixture(scope="module")
def found(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[Finding]]]:
    """What is found of each service, which is started for it and stopped by it; asked side by side."""
    folder = tmp_path_factory.mktemp("conforming")
    with ExitStack() as exits:
        stacks = ShopStacks(shop, folder, exits)
        for name in NAMES:
            shop.service(name)
        environment = {
            **shop.environment,
            "STRANGLER_JWKS": str(folder / "jwks.json"),
            "CATALOG_URL": stacks.monolith,
            "MEDIA_ROOT": str(folder / "media"),
        }
        with ThreadPoolExecutor(len(NAMES)) as pool:
            yield dict(zip(NAMES, pool.map(partial(examined, shop, environment), NAMES), strict=True))


def examined(shop: Shop, environment: dict[str, str], name: str) -> list[Finding]:
    address = f"127.0.0.1:{free_port()}"
    words = ["/usr/bin/env", *(f"{each}={value}" for each, value in environment.items())]
    words += [sys.executable, "-m", f"{name}_service", "serve", f"--listen={address}", "--request-log=-"]
    told = replace(Subject.of(shop.project, name, f"http://{address}"), seed=SEED)
    return examine(told, limits=LIMITS, command=shlex.join(words), folder=SERVICES / name)


@pytest.mark.parametrize("name", NAMES)
def test_a_service_passes(found: dict[str, list[Finding]], name: str) -> None:
    findings = found[name]
    assert [each for each in findings if each.verdict is Verdict.FAIL] == []
    assert {each.rule for each in findings} >= {"contract.routes", "stop.requests", "limits.deadline"}


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_told_of_a_service(found: dict[str, list[Finding]], name: str) -> None:
    untold = {each.rule for each in found[name] if each.verdict is Verdict.INCONCLUSIVE}
    assert untold - {"limits.deadline"} == UNSEEN.get(name, set())
