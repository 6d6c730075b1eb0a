"""A plugin for the monolith's own tests: before each request, the services hold what the monolith has committed."""

from __future__ import annotations

import os
from collections.abc import Sequence

import psycopg
import pytest
from psycopg import sql

from strangler.project import TableMapping, load
from tests.fixtures.shop import ROOT, copy_rows


class Mirror:
    """Copies a capability's rows through its mapping, whole: they are the few that one test has made."""

    def __init__(self, source: psycopg.Connection, target: str, tables: Sequence[TableMapping]) -> None:
        self._source = source
        self._target = psycopg.connect(target)
        self._tables = tables

    def pytest_live_request(self) -> None:
        with self._target.transaction():
            for table in reversed(self._tables):
                self._target.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table.target)))
            for table in self._tables:
                copy_rows(self._source, self._target, table)

    def pytest_unconfigure(self) -> None:
        self._target.close()


def pytest_configure(config: pytest.Config) -> None:
    project = load(ROOT / "strangler.toml", {})
    source = psycopg.connect(os.environ["MIRROR_SOURCE"], autocommit=True)
    config.add_cleanup(source.close)
    for name in filter(None, os.environ["MIRRORED"].split(",")):
        files = project.capabilities[name]
        if files.tables:
            target = os.environ[f"{files.service.upper()}_DATABASE_URL"]
            config.pluginmanager.register(Mirror(source, target, files.tables), f"mirror of {name}")
