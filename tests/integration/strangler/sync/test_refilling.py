"""A database is another than it was, and its tables are filled from the owner's."""

from __future__ import annotations

from pathlib import Path

import pytest

from strangler.capability import Stack
from strangler.local import Postgres
from tests.fixtures.books import ALL, Shop
from tests.fixtures.moving import ADD, WHY, in_shadow, may, owners, same
from tests.fixtures.restoring import dumped, restored
from tests.fixtures.waiting import until


def test_it_works(apart: Shop, postgres: Postgres, tmp_path: Path) -> None:
    shop = apart
    url = shop.pair.forward.source_url
    with in_shadow(shop):
        file = dumped(postgres, url, tmp_path / "dump")
        assert shop.say("cutover", "books", *WHY)[0] == 0
        assert may(shop, Stack.SERVICE, ADD.format(600, 600))
        same(shop, ALL)
    restored(postgres, url, file)
    with shop.running():
        said = shop.say("sync", "refill", "books", *WHY)
        print(*said[1:])
        assert said[0] == 0
        assert owners(shop) == ["service"]
        assert may(shop, Stack.SERVICE, ADD.format(601, 601))
        same(shop, ALL)
        said = shop.say("rollback", "books", *WHY)
        print(*said[1:])
        assert said[0] == 0
        assert owners(shop) == ["monolith"]
        same(shop, ALL)
