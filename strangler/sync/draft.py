"""What a team needs to begin a move of tables, drafted from what the catalogue says of them: pure, values to texts."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from strangler.project.values import printable

_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_PLAIN: Final = re.compile(r"[a-z_][a-z0-9_]*")
# What mapping.toml's table names cannot carry: they are split at dots, lose quotes, and variables are put in.
_UNWRITABLE: Final = re.compile(r"""[".]|\$[A-Z_{]|^\s*$""")

_VARIABLE: Final = re.compile(r"\$[A-Z_{]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What an expression or an index stands on beside PostgreSQL's own: extensions with their schemas, functions."""

    extensions: tuple[tuple[str, str], ...] = ()
    functions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """A sequence that feeds a default; ``type`` and ``options`` are SQL. ``own``: it goes when the column goes."""

    name: str
    type: str
    options: str
    own: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column; ``type``, ``collation`` and ``default`` are SQL. A generated column's expression is its default.

    ``unknown`` names the type, or the type that it is made of, that cannot be drafted; ``extensions`` are those that
    its type is from.
    """

    name: str
    type: str
    not_null: bool = False
    collation: str | None = None
    default: str | None = None
    generated: str = ""
    identity: str = ""
    sequence: Feed | None = None
    wide: bool = False
    unknown: str | None = None
    extensions: tuple[str, ...] = ()
    needs: Needs = Needs()

    @property
    def foreign_collation(self) -> bool:
        """Whether its collation is one that an empty database does not have."""
        return self.collation is not None and not self.collation.startswith("pg_catalog.")

    @property
    def drafted(self) -> bool:
        return self.unknown is None and not (self.generated and self.needs.functions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A constraint (not a foreign key) or an index: ``definition`` is SQL, ``kind`` as in pg_constraint, or index."""

    name: str
    kind: str
    definition: str
    columns: tuple[str, ...] = ()
    validated: bool = True
    needs: Needs = Needs()


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """A foreign key; tables are told as (schema, name). ``other_columns`` are all that the referred-to table has."""

    name: str
    source: tuple[str, str]
    columns: tuple[str, ...]
    target: tuple[str, str]
    target_columns: tuple[str, ...]
    definition: str
    on_delete: str
    nullable: bool = True
    validated: bool = True
    other_columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    name: str
    function: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Type:
    """An enum (``labels``) or a domain over ``base``, which is SQL as ``default`` and ``checks`` are."""

    schema: str
    name: str
    labels: tuple[str, ...] = ()
    base: str | None = None
    not_null: bool = False
    default: str | None = None
    checks: tuple[Rule, ...] = ()
    needs: Needs = Needs()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table as the monolith's catalogue describes it. ``key`` is unique and NOT NULL; empty where nothing is."""

    schema: str
    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    key_is_primary: bool = True
    rules: tuple[Rule, ...] = ()
    outgoing: tuple[ForeignKey, ...] = ()
    incoming: tuple[ForeignKey, ...] = ()
    triggers: tuple[Trigger, ...] = ()
    parents: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    partitioned: bool = False
    unlogged: bool = False
    row_security: bool = False
    replica_identity: str = "d"
    readable: bool = True

    @property
    def id(self) -> tuple[str, str]:
        return self.schema, self.name

    @property
    def drafted(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.drafted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """The tables asked for, the types that their columns have, and the words that SQL wants quoted."""

    tables: tuple[Table, ...]
    types: tuple[Type, ...] = ()
    extensions: tuple[tuple[str, str], ...] = ()
    keywords: frozenset[str] = frozenset()


class Weight(StrEnum):
    """What a finding asks of the team."""

    DECIDE = "decide"
    KNOW = "know"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something of a table that the draft cannot settle; ``choices`` are lines to choose from, as comments."""

    weight: Weight
    table: str
    text: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    mapping: str
    schema: str
    findings: tuple[Finding, ...]
    mapped: tuple[str, ...]


def shown(table: tuple[str, str]) -> str:
    """Return a table's name as mapping.toml has it: with its schema where that is not the usual one."""
    schema, name = table
    return name if schema == "public" else f"{schema}.{name}"


def writable(table: tuple[str, str]) -> bool:
    """Return whether mapping.toml can carry the table's name."""
    return not any(_UNWRITABLE.search(part) for part in table)


def quote(name: str, keywords: Collection[str]) -> str:
    """Return a name as SQL, quoted where it must be."""
    if _PLAIN.fullmatch(name) and name not in keywords:
        return name
    return '"' + name.replace('"', '""') + '"'


def text_of(value: str) -> str:
    """Return a TOML string: as it stands where it has quotes, else as JSON's, which escape all but a DEL."""
    if '"' in value and "'" not in value and value.isprintable():
        return f"'{value}'"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def key_of(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else text_of(name)


def in_order(tables: Sequence[Table]) -> tuple[tuple[Table, ...], frozenset[tuple[tuple[str, str], str]]]:
    """Return the tables, referred-to ones first, and the foreign keys (table, name) that close a circle."""
    by_id = {table.id: table for table in tables}
    done: dict[tuple[str, str], Table] = {}
    closing: set[tuple[tuple[str, str], str]] = set()

    def visit(table: Table, above: tuple[tuple[str, str], ...]) -> None:
        for each in table.outgoing:
            if each.target == table.id or each.target not in by_id:
                continue
            if each.target in above:
                closing.add((table.id, each.name))
            elif each.target not in done:
                visit(by_id[each.target], (*above, table.id))
        done[table.id] = table

    for table in tables:
        if table.id not in done:
            visit(table, ())
    return tuple(done.values()), frozenset(closing)


def mapping_text(
    capability: str, tables: Sequence[Table], findings: Sequence[Finding], keywords: Collection[str]
) -> str:
    """Return mapping.toml: identity projections both ways, and above each table what needs a decision."""
    lines = [
        f"# The tables of {capability} as SQL projections both ways, drafted from the monolith's catalogue.",
        "# Lines with DECIDE want an answer before the move begins; delete them when they have one.",
    ]
    for table in tables:
        name = shown(table.id)
        lines.append("")
        for finding in findings:
            if finding.table == name:
                mark = "DECIDE: " if finding.weight is Weight.DECIDE else ""
                lines += _comment(f"{mark}{finding.text}")
                lines += [f"#   {printable(each)}".rstrip() for each in finding.choices]
        section = [*_section(table, keywords), *_referred(table, {each.id for each in tables})]
        lines += section if table.key else [f"# {line}".rstrip() for line in section]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> Iterator[str]:
    yield f"# {printable(text)}"


def _section(table: Table, keywords: Collection[str]) -> Iterator[str]:
    name = text_of(shown(table.id))
    yield "[[table]]"
    yield f"source = {name}"
    yield f"target = {name}"
    key = ", ".join(f"{key_of(column)} = {text_of(column)}" for column in table.key)
    yield f"key = {{ {key} }}"
    rest = [column for column in table.drafted if column.name not in table.key and not column.generated]
    if not rest:
        return
    for side in ("forward", "reverse"):
        yield ""
        yield f"[table.{side}]"
        for column in rest:
            yield f"{key_of(column.name)} = {text_of(quote(column.name, keywords))}"


def answerable(key: ForeignKey, table: Table) -> bool:
    """Return whether mapping.toml can say what a delete of ``table``'s rows does to those who refer by ``key``."""
    named = writable(key.source) and not any(_VARIABLE.search(column) for column in key.columns)
    return named and set(key.target_columns) == set(table.key)


def _referred(table: Table, moving: Collection[tuple[str, str]]) -> Iterator[str]:
    entries = [
        (shown(each.source), tuple(sorted(each.columns)))
        for each in table.incoming
        if each.source not in moving and answerable(each, table)
    ]
    for name, columns in dict.fromkeys(entries):
        yield ""
        yield "[[table.referred_by]]"
        yield f"table = {text_of(name)}"
        yield f"columns = [{', '.join(map(text_of, columns))}]"
        yield 'stack = "monolith"'
        yield 'on_delete = "restrict"'


def unwritable(tables: Iterable[Table]) -> Iterator[str]:
    """Yield a sentence for each name that mapping.toml cannot carry."""
    for table in tables:
        if not writable(table.id):
            yield (
                f"the table {printable(shown(table.id))!r} has a name that mapping.toml cannot carry"
                ' (a dot, a quote, a "$"); rename it first'
            )
        for column in table.key:
            if not column.strip():
                yield f"the key column {column!r} of {printable(shown(table.id))} has a blank name; rename it first"
