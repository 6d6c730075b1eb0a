"""What ``strangler local`` makes for the names that it is given."""

from __future__ import annotations

import pytest

from strangler.demo.databases import setting
from strangler.local import EngineError


def test_each_name_is_a_database_with_an_owner_and_a_role_for_the_sync_and_the_ledger_has_its_own() -> None:
    wanted = setting(["shop", "reviews", "shop", "strangler"])
    assert {each.variable: [role.variable for role in each.roles] for each in wanted.databases} == {
        "SHOP_DATABASE_URL": ["SHOP_SYNC_DATABASE_URL"],
        "REVIEWS_DATABASE_URL": ["REVIEWS_SYNC_DATABASE_URL"],
        "STRANGLER_DATABASE_URL": [],
    }
    assert [each.owner for each in wanted.databases] == ["shop", "reviews", "strangler"]


@pytest.mark.parametrize("name", ["", "1st", "Shop", "a-b", "pg_shop", "postgres", "template1", "a" * 42])
def test_what_postgresql_would_not_take_as_it_is_or_has_itself_is_refused(name: str) -> None:
    with pytest.raises(EngineError, match="is no name for a database here"):
        setting([name])
