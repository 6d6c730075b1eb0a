"""The monolith's migrations that are not applied yet, as ``strangler_migrations --json`` tells them. No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from strangler.sync.errors import NotListed

FORMAT: Final = 2
_MARK: Final = "strangler_migrations"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column as Django has it. ``filled`` means that the database itself has a value for a row without one."""

    type: str
    null: bool
    filled: bool
    unique: bool
    references: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What an operation does to a table: ``kind`` is "column added" or the like. A rule is an index or a constraint."""

    table: str
    kind: str
    column: str | None = None
    to: str | None = None
    before: Column | None = None
    after: Column | None = None
    rule: str | None = None
    columns: tuple[str, ...] = ()
    unique: bool = False
    references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An operation of a migration; where it is ``unknown``, nobody can tell what it does."""

    app: str
    migration: str
    describes: str
    unknown: bool
    changes: tuple[Change, ...]

    @property
    def name(self) -> str:
        return f"{self.app}.{self.migration}"

    def __str__(self) -> str:
        return f"{self.name} ({self.describes})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """A column that names files, and where the monolith keeps those, in words."""

    table: str
    column: str
    storage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What is pending in a database; ``apps`` are the tables that each app of the monolith has there.

    ``files`` are the columns of all of them that name files.
    """

    database: str | None
    vendor: str
    apps: Mapping[str, frozenset[str]]
    operations: tuple[Operation, ...]
    files: tuple[Files, ...] = ()

    @property
    def migrations(self) -> tuple[str, ...]:
        """The names of those that do anything, in their order."""
        return tuple(dict.fromkeys(each.name for each in self.operations))


def parse(text: str, where: str) -> Listing:
    """Return the listing in ``text``, of which it is one line. Raises ``NotListed``, naming ``where`` it is from."""
    line = next((each for each in text.splitlines() if each.lstrip().startswith("{") and _MARK in each), None)
    if line is None:
        raise NotListed(f"{where} has no listing; it is what manage.py strangler_migrations --json prints")
    try:
        found = json.loads(line)
        if found[_MARK] != FORMAT:
            raise NotListed(
                f"{where} is of another release of strangler_django; install the same release on both sides"
            )
        return _listing(found)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise NotListed(f"{where} is no whole listing of manage.py strangler_migrations --json: {exc!r}") from exc


def _listing(found: Any) -> Listing:
    database = found["database"]
    return Listing(
        database=None if database["name"] is None else str(database["name"]),
        vendor=str(database["vendor"]),
        apps={str(app): frozenset(map(plain, tables)) for app, tables in found["apps"].items()},
        operations=tuple(
            operation
            for migration in found["migrations"]
            for each in migration["operations"]
            for operation in _operations(each, str(migration["app"]), str(migration["name"]))
        ),
        files=tuple(map(_files, found["files"])),
    )


def _files(found: Any) -> Files:
    return Files(table=plain(found["table"]), column=str(found["column"]), storage=str(found["storage"]))


def _operations(found: Any, app: str, migration: str) -> Iterator[Operation]:
    """Yield an operation, and those of the database that are inside it."""
    yield Operation(
        app=app,
        migration=migration,
        describes=str(found["describe"]),
        unknown=bool(found["unknown"]),
        changes=tuple(map(_change, found["changes"])),
    )
    for inner in found.get("database_operations", ()):
        yield from _operations(inner, app, migration)


def _change(found: Any) -> Change:
    column = found.get("column")
    return Change(
        table=plain(found["table"]),
        kind=str(found["change"]),
        column=None if column is None else str(column),
        to=None if "to" not in found else str(found["to"]),
        before=_column(found.get("before")),
        after=_column(found.get("after")),
        rule=None if "rule" not in found else str(found["rule"]),
        columns=tuple(map(str, found.get("columns", ()))),
        unique=found.get("kind") == "UniqueConstraint",
        references=tuple(map(plain, found.get("references", ()))),
    )


def _column(found: Any) -> Column | None:
    if found is None:
        return None
    return Column(
        type=str(found["type"]),
        null=bool(found["null"]),
        filled=bool(found["filled"]),
        unique=bool(found["unique"]),
        references=None if found["references"] is None else plain(found["references"]),
    )


def plain(table: str) -> str:
    """Return a table's name as a mapping may have it, to be compared: unquoted, and without the schema public.

    Django knows no schemas: those who need one write ``db_table = 'schema"."table'``.
    """
    return str(table).replace('"', "").removeprefix("public.")
