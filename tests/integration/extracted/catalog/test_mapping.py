"""The catalog's mapping, both ways, in real SQL over real rows."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql

from strangler.project import CapabilityFiles, TableMapping
from tests.fixtures.shop import Shop

Rows = list[tuple[object, ...]]


def columns_of(connection: psycopg.Connection, table: str) -> set[str]:
    rows = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = %s", (table,)
    )
    return {str(name) for (name,) in rows}


def as_text(connection: psycopg.Connection, table: str, expressions: list[str]) -> Rows:
    """Return the rows as text, so that 4.5 is not 4.50 and a float not an integer."""
    query = sql.SQL("SELECT {} FROM {} ORDER BY id").format(
        sql.SQL(", ").join(sql.SQL("({})::text").format(sql.SQL(each)) for each in expressions), sql.Identifier(table)
    )
    return connection.execute(query).fetchall()


def quoted(names: list[str]) -> list[str]:
    return [f'"{name}"' for name in names]


@pytest.fixture(params=["catalog_category", "catalog_product"])
def table(request: pytest.FixtureRequest, catalog_files: CapabilityFiles) -> TableMapping:
    [found] = [table for table in catalog_files.tables if table.source == request.param]
    return found


def test_every_column_of_both_tables_is_mapped(shop: Shop, table: TableMapping) -> None:
    with psycopg.connect(shop.monolith) as source, psycopg.connect(shop.catalog) as target:
        assert {*table.key.values(), *table.reverse} == columns_of(source, table.source)
        assert {*table.key, *table.forward} == columns_of(target, table.target)


def test_every_row_comes_back_as_it_was(shop: Shop, table: TableMapping) -> None:
    claimed = [*table.key.values(), *table.reverse]
    back = [*quoted(list(table.key)), *table.reverse.values()]
    with psycopg.connect(shop.monolith) as source, psycopg.connect(shop.catalog) as target:
        rows = as_text(source, table.source, quoted(claimed))
        assert as_text(target, table.target, back) == rows
        assert len(rows) > 20


def test_what_the_service_writes_comes_forward_again_as_it_was(shop: Shop, table: TableMapping) -> None:
    # The way after a cutover: target row, reverse, forward.
    reverse = {**{source: f'"{target}"' for target, source in table.key.items()}, **table.reverse}
    with psycopg.connect(shop.catalog) as target:
        rows = as_text(target, table.target, quoted([*table.key, *table.forward]))
        reversed_rows = sql.SQL("CREATE TEMPORARY TABLE reversed AS SELECT {} FROM {}").format(
            sql.SQL(", ").join(
                sql.SQL("{} AS {}").format(sql.SQL(expression), sql.Identifier(name))
                for name, expression in reverse.items()
            ),
            sql.Identifier(table.target),
        )
        target.execute(reversed_rows)
        assert as_text(target, "reversed", [*quoted(list(table.key.values())), *table.forward.values()]) == rows
