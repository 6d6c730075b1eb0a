"""A plugin for the monolith's own tests: before each request, the service holds what the monolith has committed."""

from __future__ import annotations

import os
from collections.abc import Sequence

import psycopg
import pytest
from psycopg import sql

from strangler.project import TableMapping, load
from tests.fixtures.shop import ROOT


class Mirror:
    """Copies the capability's rows through its mapping, whole: they are the few that one test has made."""

    def __init__(self, source: str, target: str, tables: Sequence[TableMapping]) -> None:
        self._source = psycopg.connect(source, autocommit=True)
        self._target = psycopg.connect(target)
        self._tables = tables

    def pytest_live_request(self) -> None:
        with self._target.transaction():
            targets = sql.SQL(", ").join(sql.Identifier(table.target) for table in self._tables)
            self._target.execute(sql.SQL("TRUNCATE {}").format(targets))
            for table in self._tables:
                self._copy(table)

    def _copy(self, table: TableMapping) -> None:
        columns = {**table.key, **table.forward}
        rows = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(
            sql.SQL(", ").join(map(sql.SQL, columns.values())), sql.Identifier(table.source)
        )
        into = sql.SQL("COPY {} ({}) FROM STDIN").format(
            sql.Identifier(table.target), sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        with self._source.cursor().copy(rows) as out, self._target.cursor().copy(into) as back:
            for data in out:
                back.write(data)

    def pytest_unconfigure(self) -> None:
        self._source.close()
        self._target.close()


def pytest_configure(config: pytest.Config) -> None:
    tables = load(ROOT / "strangler.toml", {}).capabilities[os.environ["MIRROR_CAPABILITY"]].tables
    mirror = Mirror(os.environ["MIRROR_SOURCE"], os.environ["MIRROR_TARGET"], tables)
    config.pluginmanager.register(mirror, "mirror")
