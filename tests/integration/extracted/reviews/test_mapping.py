"""The reviews' mapping: the same rows in both databases, and of what they refer to as much as is asked for."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql

from strangler.project import Project, TableMapping
from strangler.sync.mapping import project
from tests.fixtures.shop import Shop

TABLES = ("reviews_review", "reviews_photo", "reviews_vote")
JOBS = "reviews_job"  # which tasks have taken effect; none has, where nobody works
REFERENCES = {"catalog_product": {"id", "slug", "name", "is_active"}, "accounts_user": {"id", "username", "is_staff"}}


def columns_of(connection: psycopg.Connection, table: str) -> set[str]:
    rows = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = %s", (table,)
    )
    return {str(name) for (name,) in rows}


def rows_of(connection: psycopg.Connection, table: TableMapping) -> list[tuple[object, ...]]:
    columns = sql.SQL(", ").join(map(sql.Identifier, sorted({*table.key, *table.forward})))
    query = sql.SQL("SELECT {} FROM {} ORDER BY id").format(columns, sql.Identifier(table.source))
    return connection.execute(query).fetchall()


def mapped(shop_project: Project, name: str) -> TableMapping:
    [found] = [table for table in shop_project.capabilities["reviews"].tables if table.source == name]
    return found


@pytest.mark.parametrize("name", [*TABLES, JOBS])
def test_every_column_is_mapped_to_itself_both_ways(shop: Shop, shop_project: Project, name: str) -> None:
    table = mapped(shop_project, name)
    with psycopg.connect(shop.monolith) as source, psycopg.connect(shop.service("reviews")) as target:
        columns = columns_of(source, name)
        assert columns_of(target, name) == columns == {*table.key, *table.forward} == {*table.key, *table.reverse}
    for projection in (table.key, table.forward, table.reverse):
        assert all(name == expression for name, expression in projection.items())


@pytest.mark.parametrize("name", REFERENCES)
def test_of_a_reference_only_what_the_reviews_show_is_copied(shop: Shop, shop_project: Project, name: str) -> None:
    table = mapped(shop_project, name)
    assert table.reference
    with psycopg.connect(shop.service("reviews")) as target:
        assert columns_of(target, name) == {*table.key, *table.forward} == REFERENCES[name]


@pytest.mark.parametrize("name", [*TABLES, *REFERENCES])
def test_both_databases_hold_the_same_rows(shop: Shop, shop_project: Project, name: str) -> None:
    table = mapped(shop_project, name)
    with psycopg.connect(shop.monolith) as source, psycopg.connect(shop.service("reviews")) as target:
        rows = rows_of(source, table)
        assert rows_of(target, table) == rows
        assert len(rows) > 4


def test_the_sync_takes_the_mapping_and_copies_what_is_referred_to_first(shop: Shop, shop_project: Project) -> None:
    tables = shop_project.capabilities["reviews"].tables
    with psycopg.connect(shop.monolith) as source, psycopg.connect(shop.service("reviews")) as target:
        order = [each.mapping.target for each in project(tables, source, target, "mapping.toml")]
    assert sorted(order) == sorted([*TABLES, JOBS, *REFERENCES])
    for first, then in (("catalog_product", "reviews_review"), ("accounts_user", "reviews_review")):
        assert order.index(first) < order.index(then)
    assert order.index("reviews_review") < min(order.index("reviews_photo"), order.index("reviews_vote"))
