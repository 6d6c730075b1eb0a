"""A table's mapping against two live schemas: its SQL, and everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from hashlib import sha256

import psycopg
from psycopg import sql

from strangler.project import TableMapping
from strangler.sync.catalogue import Column, Table, identifier, look_up
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
            sql.SQL(", ").join(self.casts()),
            identifier(self.source.name),
            self._within(low, high),
        )

    def rows_of(self, keys: Sequence[Key]) -> sql.Composed:
        """Return the SELECT of the projected rows with these keys, as far as the mapping's condition takes them."""
        columns = sql.SQL(", ").join(sql.Identifier(name) for name in self._source_key)
        wanted = sql.SQL(", ").join(
            sql.SQL("({})").format(
                sql.SQL(", ").join(
                    cast(sql.Literal(value), self.source.columns[name].type)
                    for name, value in zip(self._source_key, key, strict=True)
                )
            )
            for key in keys
        )
        return sql.SQL("select {} from {} where ({}) in ({}) and {}").format(
            sql.SQL(", ").join(self.casts()), identifier(self.source.name), columns, wanted, self.condition
        )

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
            where=self.condition,
            size=sql.Literal(size),
        )

    @property
    def _source_key(self) -> tuple[str, ...]:
        return tuple(self.mapping.key.values())

    @property
    def expressions(self) -> Mapping[str, sql.Composable]:
        """What the source's rows give for each of ``columns``, in the type that the expression itself has."""
        keys = {target: sql.Identifier(column) for target, column in self.mapping.key.items()}
        return {**keys, **{target: _trusted(text) for target, text in self.mapping.forward.items()}}

    @property
    def condition(self) -> sql.Composable:
        """Which of the source's rows are projected."""
        return condition(self.mapping.where)

    def casts(self) -> Iterator[sql.Composable]:
        """Yield the expression of each of ``columns``, in the type that the target's column is sent as."""
        for target, expression in self.expressions.items():
            yield cast(expression, self.target.columns[target].sent_as)

    def _within(self, low: Key | None, high: Key | None) -> sql.Composed:
        # Ranges are compared in the source alone, where they were cut: the target may sort the same keys differently.
        columns = sql.SQL(", ").join(sql.Identifier(column) for column in self._source_key)
        parts: list[sql.Composable] = [self.condition]
        for bound, sign in ((low, ">"), (high, "<=")):
            if bound is not None:
                values = sql.SQL(", ").join(
                    cast(sql.Literal(value), self.source.columns[column].type)
                    for value, column in zip(bound, self._source_key, strict=True)
                )
                parts.append(sql.SQL("({}) {} ({})").format(columns, sql.SQL(sign), values))
        return sql.SQL(" and ").join(parts)


def project(
    mappings: Sequence[TableMapping],
    source: psycopg.Connection,
    target: psycopg.Connection,
    file: str,
    *,
    wanted: Sequence[str] = ("select", "insert"),
) -> list[Projection]:
    """Make the ``mappings`` of ``file`` fast against both databases, parents before children.

    ``wanted`` are the rights that the role must have on the target's tables. Raises ``MappingInvalid`` with everything
    that does not fit.
    """
    problems: list[str] = []
    projections: list[Projection] = []
    for mapping in mappings:
        here, there = look_up(source, mapping.source), look_up(target, mapping.target)
        found = [*_missing(mapping, here, there)]
        if here is not None and there is not None:
            found += [*_rights(source, here, "select"), *_rights(target, there, *wanted)]
            found += _misfits(mapping, here, there)
            projections.append(Projection(mapping=mapping, source=here, target=there))
            found = found or list(_wrong_sql(projections[-1], source, target))
        problems += [f"{file}: {mapping.source} → {mapping.target}: {each}" for each in found]
    if problems:
        raise MappingInvalid(problems)
    return _parents_first(projections, file)


def digest(mappings: Sequence[TableMapping]) -> str:
    """Return a digest of the mappings, in whatever order, to know whether an unfinished copy still fits them."""
    ordered = sorted(mappings, key=lambda each: each.target)
    return sha256(repr([(m.source, m.target, m.key, m.forward, m.where) for m in ordered]).encode()).hexdigest()


def _missing(mapping: TableMapping, source: Table | None, target: Table | None) -> Iterator[str]:
    if source is None:
        yield f"the source has no table {mapping.source} that this role may see; mend its name or grant SELECT"
    if target is None:
        yield f"the target has no table {mapping.target} that this role may see; run the service's SQL files"


def _rights(connection: psycopg.Connection, table: Table, *wanted: str) -> Iterator[str]:
    missing = [right for right in wanted if right not in table.rights]
    if missing:
        role = sql.Identifier(connection.info.user).as_string(connection)
        words = ", ".join(missing)
        yield f"the role {role} may not {words} on {table.name}; run there: grant {words} on {table.name} to {role}"


def _misfits(mapping: TableMapping, source: Table, target: Table) -> Iterator[str]:
    yield from _unknown_columns(mapping, source, target)
    yield from _bad_keys(mapping, source, target)
    given = {*mapping.key, *mapping.forward}
    for name, there in target.columns.items():
        if there.not_null and not there.has_default and not there.generated and name not in given:
            yield f"{target.name}.{name} must have a value and gets none; add it to the mapping"


def _unknown_columns(mapping: TableMapping, source: Table, target: Table) -> Iterator[str]:
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
    for what, columns in (("acknowledged", mapping.acknowledged), ("shared_files", mapping.shared_files)):
        for column in columns:
            if column not in source.columns:
                yield f"{what} column {column} is not in {source.name} (it has {', '.join(source.columns)})"


def _bad_keys(mapping: TableMapping, source: Table, target: Table) -> Iterator[str]:
    for table, key, cure in (
        (source, tuple(mapping.key.values()), "use its primary key"),
        (target, tuple(mapping.key), "make it the primary key"),
    ):
        if table.columns.keys() >= set(key) and not table.is_key(key):
            yield f"key {', '.join(key)} is not unique and NOT NULL in {table.name}; {cure}"


def _wrong_sql(projection: Projection, source: psycopg.Connection, target: psycopg.Connection) -> Iterator[str]:
    """Yield each expression that its database refuses; asked one by one, so that all are named."""
    mapping, here, there = projection.mapping, projection.source, projection.target
    found = [
        *_refused(
            source, here, "forward", {name: (text, there.columns[name]) for name, text in mapping.forward.items()}
        ),
        *_refused(
            target, there, "reverse", {name: (text, here.columns[name]) for name, text in mapping.reverse.items()}
        ),
    ]
    if mapping.where:
        query = sql.SQL("select from {} where {} limit 0").format(identifier(here.name), condition(mapping.where))
        refusal = _refusal(source, query)
        if refusal:
            found.append(f"where = {mapping.where!r} is no condition: {refusal}")
    yield from found
    if not found:  # what only shows together: an aggregate beside the key
        refusal = _refusal(source, sql.SQL("{} limit 0").format(projection.rows(None, None)))
        if refusal:
            yield f"its columns do not go into one SELECT: {refusal}"


def _refused(
    connection: psycopg.Connection, table: Table, side: str, wanted: Mapping[str, tuple[str, Column]]
) -> Iterator[str]:
    for name, (expression, column) in wanted.items():
        query = sql.SQL("select {} from {} limit 0").format(
            cast(_trusted(expression), column.sent_as), identifier(table.name)
        )
        refusal = _refusal(connection, query)
        if refusal:
            yield f"{side} {name} = {expression!r} does not give {column.sent_as}: {refusal}"


def _refusal(connection: psycopg.Connection, query: sql.Composed) -> str | None:
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(query)
    except psycopg.OperationalError:
        raise
    except psycopg.Error as exc:
        return str(exc).splitlines()[0]
    return None


def _parents_first(projections: list[Projection], file: str) -> list[Projection]:
    by_oid = {projection.target.oid: projection for projection in projections}
    order: TopologicalSorter[int] = TopologicalSorter(
        {oid: [each for each in own.target.parents if each in by_oid and each != oid] for oid, own in by_oid.items()}
    )
    try:
        return [by_oid[oid] for oid in order.static_order()]
    except CycleError as exc:
        tables = " → ".join(by_oid[oid].target.name for oid in exc.args[1])
        raise MappingInvalid(
            [f"{file}: the target's tables refer to each other in a circle: {tables}; drop one of those foreign keys"]
        ) from exc


def cast(expression: sql.Composable, type_name: str) -> sql.Composed:
    # format_type() quotes what needs quoting, so a type's name from the catalogue is SQL as it stands.
    return sql.SQL("({})::{}").format(expression, sql.SQL(type_name))


def condition(where: str | None) -> sql.Composable:
    """Return a mapping's condition as SQL: which of the source's rows it takes."""
    return sql.SQL("({})").format(_trusted(where)) if where else sql.SQL("true")


def _trusted(text: str) -> sql.SQL:
    """Return SQL that the team wrote in mapping.toml: as trusted as the code beside it."""
    return sql.SQL(text)
