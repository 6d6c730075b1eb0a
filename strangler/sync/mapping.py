"""A table's mapping against two live schemas: its SQL, and everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from hashlib import sha256

import psycopg
from psycopg import sql

from strangler.project import TableMapping
from strangler.sync.catalogue import Table, identifier, look_up
from strangler.sync.errors import MappingInvalid

Key = tuple[str, ...]
"""A key's values as text, in the order of the mapping's key columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """One table's mapping, made fast against the tables on both sides."""

    mapping: TableMapping
    source: Table
    target: Table

    @property
    def columns(self) -> tuple[str, ...]:
        """The target's columns, in the order in which rows are copied."""
        return (*self.mapping.key, *self.mapping.forward)

    def rows(self, low: Key | None, high: Key | None) -> sql.Composed:
        """Return the SELECT of the projected rows whose keys lie in (low, high]."""
        return sql.SQL("select {} from {} where {}").format(
            sql.SQL(", ").join(self._expressions()),
            identifier(self.source.name),
            self._within(self.source, self._source_key, low, high, self.mapping.where),
        )

    def targets(self, low: Key | None, high: Key | None) -> sql.Composed:
        """Return the condition on the target's rows whose keys lie in (low, high]."""
        return self._within(self.target, tuple(self.mapping.key), low, high, None)

    def boundaries(self, size: int) -> sql.Composed:
        """Return the SELECT of every ``size``-th key of the source, as arrays of text, and of the number of rows."""
        key = sql.SQL(", ").join(sql.Identifier(column) for column in self._source_key)
        texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(column)) for column in self._source_key)
        return sql.SQL(
            "select array[{texts}], n from (select {key}, row_number() over (order by {key}) as n from {table}"
            " where {where}) as keys where n % {size} = 0 order by n"
        ).format(
            texts=texts,
            key=key,
            table=identifier(self.source.name),
            where=_condition(self.mapping.where),
            size=sql.Literal(size),
        )

    @property
    def _source_key(self) -> tuple[str, ...]:
        return tuple(self.mapping.key.values())

    def _expressions(self) -> Iterator[sql.Composable]:
        for target, column in self.mapping.key.items():
            yield _cast(sql.Identifier(column), self.target.columns[target].type)
        for target, expression in self.mapping.forward.items():
            yield _cast(_trusted(expression), self.target.columns[target].type)

    def _within(
        self, table: Table, key: Sequence[str], low: Key | None, high: Key | None, where: str | None
    ) -> sql.Composed:
        columns = sql.SQL(", ").join(sql.Identifier(column) for column in key)
        parts: list[sql.Composable] = [_condition(where)]
        for bound, sign in ((low, ">"), (high, "<=")):
            if bound is not None:
                values = sql.SQL(", ").join(
                    _cast(sql.Literal(value), table.columns[column].type)
                    for value, column in zip(bound, key, strict=True)
                )
                parts.append(sql.SQL("({}) {} ({})").format(columns, sql.SQL(sign), values))
        return sql.SQL(" and ").join(parts)


def project(
    mappings: Sequence[TableMapping], source: psycopg.Connection, target: psycopg.Connection
) -> list[Projection]:
    """Make ``mappings`` fast against both databases, parents before children.

    Raises ``MappingInvalid`` with everything that does not fit.
    """
    problems: list[str] = []
    projections: list[Projection] = []
    for mapping in mappings:
        here, there = look_up(source, mapping.source), look_up(target, mapping.target)
        found = list(_problems(mapping, here, there))
        if not found and here is not None and there is not None:
            projection = Projection(mapping=mapping, source=here, target=there)
            found = list(_wrong_sql(projection, source))
            projections.append(projection)
        problems += [f"mapping {mapping.source} → {mapping.target}: {each}" for each in found]
    if problems:
        raise MappingInvalid(problems)
    return _parents_first(projections)


def digest(mappings: Sequence[TableMapping]) -> str:
    """Return a digest of the mappings, to know whether an unfinished copy still fits them."""
    return sha256(repr([(m.source, m.target, m.key, m.forward, m.where) for m in mappings]).encode()).hexdigest()


def _problems(mapping: TableMapping, source: Table | None, target: Table | None) -> Iterator[str]:
    if source is None:
        yield f"the source has no table {mapping.source} that this role may see; mend its name or grant SELECT"
    if target is None:
        yield f"the target has no table {mapping.target} that this role may see; run the service's SQL files"
    if source is None or target is None:
        return
    for column, key in mapping.key.items():
        if key not in source.columns:
            yield f"key column {key} is not in {source.name} (it has {', '.join(source.columns)})"
        if column not in target.columns:
            yield f"key column {column} is not in {target.name} (it has {', '.join(target.columns)})"
    for column in mapping.forward:
        if column not in target.columns:
            yield f"forward column {column} is not in {target.name} (it has {', '.join(target.columns)})"
        elif target.columns[column].generated:
            yield f"forward column {column} is generated by {target.name} itself; leave it out"
    for column in mapping.reverse:
        if column not in source.columns:
            yield f"reverse column {column} is not in {source.name} (it has {', '.join(source.columns)})"
    if not source.is_key(mapping.key.values()):
        yield f"key {', '.join(mapping.key.values())} is not unique in {source.name}; use its primary key"
    if not target.is_key(mapping.key):
        yield f"key {', '.join(mapping.key)} is not unique in {target.name}; make it the primary key"
    given = {*mapping.key, *mapping.forward}
    for name, there in target.columns.items():
        if there.not_null and not there.has_default and not there.generated and name not in given:
            yield f"{target.name}.{name} must have a value and gets none; add it under [table.forward]"


def _wrong_sql(projection: Projection, source: psycopg.Connection) -> Iterator[str]:
    """Yield each expression that the source refuses; asked one by one, so that all are named."""
    for column, expression in projection.mapping.forward.items():
        wanted = projection.target.columns[column].type
        query = sql.SQL("select {} from {} limit 0").format(
            _cast(_trusted(expression), wanted), identifier(projection.source.name)
        )
        refusal = _refusal(source, query)
        if refusal:
            yield f"forward {column} = {expression!r} does not give {wanted}: {refusal}"
    where = projection.mapping.where
    if where:
        query = sql.SQL("select from {} where {} limit 0").format(identifier(projection.source.name), _condition(where))
        refusal = _refusal(source, query)
        if refusal:
            yield f"where = {where!r} is no condition: {refusal}"


def _refusal(connection: psycopg.Connection, query: sql.Composed) -> str | None:
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(query)
    except psycopg.OperationalError:
        raise
    except psycopg.Error as exc:
        return str(exc).splitlines()[0]
    return None


def _parents_first(projections: list[Projection]) -> list[Projection]:
    by_name = {projection.target.name: projection for projection in projections}
    order: TopologicalSorter[str] = TopologicalSorter(
        {name: [parent for parent in each.target.parents if parent in by_name] for name, each in by_name.items()}
    )
    try:
        return [by_name[name] for name in order.static_order()]
    except CycleError as exc:
        tables = " → ".join(exc.args[1])
        raise MappingInvalid([f"the target's tables refer to each other in a circle: {tables}; defer one key"]) from exc


def _cast(expression: sql.Composable, type_name: str) -> sql.Composed:
    # format_type() quotes what needs quoting, so a type's name from the catalogue is SQL as it stands.
    return sql.SQL("({})::{}").format(expression, sql.SQL(type_name))


def _condition(where: str | None) -> sql.Composable:
    return sql.SQL("({})").format(_trusted(where)) if where else sql.SQL("true")


def _trusted(text: str) -> sql.SQL:
    """Return SQL that the team wrote in mapping.toml: as trusted as the code beside it."""
    return sql.SQL(text)
