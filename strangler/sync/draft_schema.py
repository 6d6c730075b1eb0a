"""The service's first SQL file: tables as the monolith has them, alone in an empty database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from strangler.project.values import printable
from strangler.sync.draft import (
    Column,
    Described,
    Draft,
    Feed,
    Table,
    Type,
    in_order,
    mapping_text,
    quote,
    shown,
)
from strangler.sync.draft_findings import cannot_stand, findings_of, keys_left_out, left_out, types_left_out

Quote = Callable[[str], str]
Closing = frozenset[tuple[tuple[str, str], str]]


def draft(capability: str, described: Described, claimed: Mapping[tuple[str, str], str]) -> Draft:
    """Return both files' texts and everything to decide; ``claimed`` tells other capabilities' tables."""
    tables, closing = in_order(described.tables)
    moving = frozenset(table.id for table in tables)
    findings = (
        *types_left_out(described.types, shown(tables[0].id)),
        *(each for table in tables for each in findings_of(table, moving, claimed, closing)),
        *keys_left_out(tables),
    )
    return Draft(
        mapping=mapping_text(capability, tables, findings, described.keywords),
        schema=_schema_text(capability, described, tables, closing),
        findings=findings,
        mapped=tuple(shown(table.id) for table in tables if table.key),
    )


def _schema_text(capability: str, described: Described, tables: Sequence[Table], closing: Closing) -> str:
    def q(name: str) -> str:
        return quote(name, described.keywords)

    schemas = {
        *(table.schema for table in tables),
        *(each.schema for each in described.types),
        *(schema for _, schema in described.extensions),
    } - {"public", "pg_catalog"}
    parts = [
        f"-- The tables of {capability} as the monolith has them, for an empty database.",
        *(f"create schema if not exists {q(schema)};" for schema in sorted(schemas)),
        *(f"create extension if not exists {q(name)} schema {q(schema)};" for name, schema in described.extensions),
        *(_type(each, q) for each in described.types),
        *_sequences(tables),
        *(_table(table, q) for table in tables),
        "",
        *(line for table in tables for line in _indexes(table)),
        *(line for table in tables for line in _foreign_keys(table, {each.id: each for each in tables}, closing, q)),
    ]
    return "\n".join(parts) + "\n"


def name_of(table: tuple[str, str], q: Quote) -> str:
    schema, name = table
    return q(name) if schema == "public" else f"{q(schema)}.{q(name)}"


def _literal(text: str) -> str:
    # With a backslash in it, only E'' means the same whatever standard_conforming_strings says.
    quoted = "'" + text.replace("'", "''").replace("\\", "\\\\") + "'"
    return f"E{quoted}" if "\\" in text else quoted


def _type(each: Type, q: Quote) -> str:
    name = name_of((each.schema, each.name), q)
    if each.base is None:
        return f"create type {name} as enum ({', '.join(map(_literal, each.labels))});"
    default = f" default {each.default}" if each.default is not None and not each.needs.functions else ""
    not_null = " not null" if each.not_null else ""
    checks = "".join(
        f" constraint {q(check.name)} {check.definition}"
        for check in each.checks
        if check.validated and not check.needs.functions
    )
    return f"create domain {name} as {each.base}{default}{not_null}{checks};"


def _fed(tables: Sequence[Table]) -> Iterator[tuple[Table, Column, Feed]]:
    for table in tables:
        for column in table.drafted:
            if column.sequence is not None and not column.identity:
                yield table, column, column.sequence


def _sequences(tables: Sequence[Table]) -> Iterator[str]:
    made = {sequence.name: sequence for _, _, sequence in _fed(tables)}
    for sequence in made.values():
        parts = ("create sequence", sequence.name, "as", sequence.type, sequence.options)
        yield f"{' '.join(filter(None, parts))};"


def _table(table: Table, q: Quote) -> str:
    lines = [_column(column, q) for column in table.drafted]
    lines += [
        f"constraint {q(rule.name)} {rule.definition}"
        for rule in table.rules
        if rule.kind != "i" and left_out(table, rule) is None
    ]
    body = ",\n".join(f"    {line}" for line in lines)
    owned = "".join(
        f"\nalter sequence {sequence.name} owned by {name_of(table.id, q)}.{q(column.name)};"
        for _, column, sequence in _fed([table])
        if sequence.own
    )
    return f"\ncreate table {name_of(table.id, q)} (\n{body}\n);{owned}"


def _column(column: Column, q: Quote) -> str:
    parts = [q(column.name), column.type]
    if column.collation is not None and not column.foreign_collation:
        parts.append(f"collate {column.collation}")
    if column.generated:
        parts.append(f"generated always as ({column.default}) {'virtual' if column.generated == 'v' else 'stored'}")
    elif column.identity:
        when = "always" if column.identity == "a" else "by default"
        options = f" ({column.sequence.options})" if column.sequence is not None and column.sequence.options else ""
        parts.append(f"generated {when} as identity{options}")
    elif column.default is not None and not column.needs.functions:
        parts.append(f"default {column.default}")
    if column.not_null:
        parts.append("not null")
    return " ".join(parts)


def _indexes(table: Table) -> Iterator[str]:
    for rule in table.rules:
        if rule.kind == "i" and left_out(table, rule) is None:
            yield f"{rule.definition};"


def _foreign_keys(table: Table, inside: Mapping[tuple[str, str], Table], closing: Closing, q: Quote) -> Iterator[str]:
    for each in table.outgoing:
        if each.target in inside:
            add = f"alter table {name_of(table.id, q)} add constraint {q(each.name)} {each.definition};"
            out = (table.id, each.name) in closing or not each.validated
            out = out or cannot_stand(each, table, inside[each.target])
            yield f"-- left out, see mapping.toml: {printable(add)}" if out else add
