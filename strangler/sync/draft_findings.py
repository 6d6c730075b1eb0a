"""What a team must decide or know of the tables that it is about to move."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from strangler.sync.draft import (
    Column,
    Finding,
    ForeignKey,
    Rule,
    Table,
    Type,
    Weight,
    answerable,
    key_of,
    shown,
    text_of,
    writable,
)

_SOFT: Final = frozenset({"deleted_at", "is_deleted", "deleted", "deleted_on", "removed_at", "is_removed"})
_KINDS: Final = {"c": "CHECK", "u": "unique constraint", "x": "exclusion constraint", "p": "primary key"}


def findings_of(
    table: Table,
    moving: frozenset[tuple[str, str]],
    claimed: Mapping[tuple[str, str], str],
    closing: frozenset[tuple[tuple[str, str], str]],
) -> Iterator[Finding]:
    """Yield what the draft cannot settle; ``claimed`` says which other capability has a table already."""
    name = shown(table.id)

    def decide(text: str, *choices: str) -> Finding:
        return Finding(weight=Weight.DECIDE, table=name, text=text, choices=choices)

    def know(text: str) -> Finding:
        return Finding(weight=Weight.KNOW, table=name, text=text)

    for text, choices in (*_keys(table), *_shape(table), *_columns(table), *_rules(table)):
        yield decide(text, *choices)
    for each in table.outgoing:
        if each.target not in moving:
            yield decide(*_outgoing(each, claimed.get(each.target)))
        elif (table.id, each.name) in closing:
            yield decide(
                f"the foreign key {each.name} closes a circle of tables, which cannot be copied parents first:"
                " it stands in the DDL as a comment; keep it out, or take out another of the circle"
            )
        elif not each.validated:
            yield decide(
                f"the foreign key {each.name} is NOT VALID: rows may break it, so the service would refuse them"
            )
    for each in table.incoming:
        if each.source not in moving:
            yield decide(*_incoming(each, table))
    for text in _worth_knowing(table):
        yield know(text)


_Said = tuple[str, tuple[str, ...]]


def _keys(table: Table) -> Iterator[_Said]:
    if not table.key:
        yield (
            "no primary key, and no unique index over NOT NULL columns: rows cannot be told apart, so it cannot move;"
            " add a primary key in the monolith, then take out the # below",
            (),
        )
    elif not table.key_is_primary:
        yield (
            f"no primary key; the key drafted is a unique index ({', '.join(table.key)});"
            " in the monolith, add a primary key or set REPLICA IDENTITY USING INDEX",
            (),
        )
    if table.replica_identity == "n":
        yield "REPLICA IDENTITY NOTHING: updates and deletes carry no key; set it to DEFAULT in the monolith", ()


def _shape(table: Table) -> Iterator[_Said]:
    if table.partitioned:
        parts = f"partitions: {len(table.children)}"
        yield (
            f"partitioned in the monolith ({parts}); drafted as one plain table; partition it in the DDL if wanted",
            (),
        )
    elif table.children:
        yield (
            f"inherited by {', '.join(table.children)}, whose rows a SELECT shows too; move them apart or merge them",
            (),
        )
    if table.parents:
        yield f"inherits from {', '.join(table.parents)}; drafted as a plain table with all its columns", ()
    if table.unlogged:
        yield "unlogged: its changes are not in the WAL, so no stream sees them; ALTER TABLE ... SET LOGGED first", ()
    if table.row_security:
        yield "row security is on: the sync's role must see every row (BYPASSRLS), and the DDL has no policies", ()
    for trigger in table.triggers:
        yield (
            f"the trigger {trigger.name} calls {trigger.function}: what it does stays in the monolith;"
            " write it anew for the service, or leave it out",
            (),
        )


def _columns(table: Table) -> Iterator[_Said]:
    for column in table.columns:
        for text in _of_column(column):
            yield text, ()


def _of_column(column: Column) -> Iterator[str]:
    functions = ", ".join(column.needs.functions)
    if column.unknown is not None:
        yield f"the column {column.name} is left out: its type {column.unknown} is none that can be drafted"
    elif functions and column.generated:
        yield f"the generated column {column.name} is left out: it calls {functions}"
    elif functions:
        yield f"the default of {column.name} is left out: it calls {functions}"
    if column.foreign_collation:
        yield f"the collation {column.collation} of {column.name} is left out: no empty database has it"
    if column.sequence is not None and not column.sequence.own:
        yield (
            f"{column.name} takes its numbers from {column.sequence.name}, which is not its own: other tables may take"
            " from it too; the service gets a sequence of that name to itself"
        )


def left_out(table: Table, rule: Rule) -> str | None:
    """Return why a rule is not drafted, None when it is."""
    gone = {column.name for column in table.columns if not column.drafted}
    if rule.needs.functions:
        return f"it calls {', '.join(rule.needs.functions)}"
    if gone & set(rule.columns):
        return f"it is over {', '.join(sorted(gone & set(rule.columns)))}, which is left out"
    return None if rule.validated else "it is NOT VALID: rows may break it, which the service would refuse"


def cannot_stand(each: ForeignKey, source: Table, target: Table) -> bool:
    """Return whether a foreign key is over columns that are left out."""
    here, there = ({column.name for column in table.columns if not column.drafted} for table in (source, target))
    return bool(here & {*each.columns} or there & {*each.target_columns})


def keys_left_out(tables: Sequence[Table]) -> Iterator[Finding]:
    by_id = {table.id: table for table in tables}
    for table in tables:
        for each in table.outgoing:
            if each.target in by_id and cannot_stand(each, table, by_id[each.target]):
                text = f"the foreign key {each.name} is left out: a column of it is"
                yield Finding(weight=Weight.DECIDE, table=shown(table.id), text=text)


def types_left_out(types: Sequence[Type], table: str) -> Iterator[Finding]:
    """Yield what is left out of domains, told at the first ``table``."""
    for each in types:
        name = shown((each.schema, each.name))
        if each.default is not None and each.needs.functions:
            text = f"the default of the domain {name} is left out: it calls {', '.join(each.needs.functions)}"
            yield Finding(weight=Weight.DECIDE, table=table, text=text)
        for check in each.checks:
            if check.needs.functions or not check.validated:
                why = f"it calls {', '.join(check.needs.functions)}" if check.needs.functions else "it is NOT VALID"
                text = f"the CHECK {check.name} of the domain {name} is left out: {why}"
                yield Finding(weight=Weight.DECIDE, table=table, text=text)


def _rules(table: Table) -> Iterator[_Said]:
    for rule in table.rules:
        why = left_out(table, rule)
        if why is not None:
            yield f"the {_KINDS.get(rule.kind, 'index')} {rule.name} is left out: {why}", ()


def _outgoing(each: ForeignKey, owner: str | None) -> tuple[str, ...]:
    there = f"{shown(each.target)} ({', '.join(each.target_columns)})"
    name = text_of(shown(each.target))
    key = ", ".join(f"{key_of(column)} = {text_of(column)}" for column in each.target_columns)
    rest = ", ".join(column for column in each.other_columns if column not in each.target_columns)
    move = (
        f"it is {owner}'s, so it cannot move along"
        if owner
        else f"move it too: add {shown(each.target)} to --tables; or"
    )
    reference = (
        "copy what is read of it: create it in the service, and a [[reference]] here",
        "  [[reference]]",
        f"  source = {name}",
        f"  target = {name}",
        f"  key = {{ {key} }}",
        f"  [reference.forward]   # of: {rest}" if rest else "",
    )
    return (
        f"{', '.join(each.columns)} refers to {there}, which stays behind",
        "keep the plain column, without a foreign key, as drafted; or",
        move,
        *(filter(None, reference) if writable(each.target) else ()),
    )


def _incoming(each: ForeignKey, table: Table) -> tuple[str, ...]:
    column = f"{shown(each.source)}.{', '.join(each.columns)}"
    told = f"{column} refers to it and stays behind, with ON DELETE {each.on_delete.upper()}"
    if not answerable(each, table):
        return (
            f"{told}; when the service deletes a row, that rule is what becomes of those: no entry can say another,"
            f" since it refers to {', '.join(each.target_columns)}, or has a name that mapping.toml cannot carry",
        )
    null = "" if each.nullable else " (not here: it is NOT NULL)"
    return (
        f"{told}; when the service deletes a row, what becomes of those? (on_delete, in [[table.referred_by]])",
        "restrict, as drafted: the delete is not carried out, the stream stops, and says so",
        f"set null: the column is emptied{null}",
        "cascade: those rows are deleted too",
        "keep: they keep a value that leads nowhere; the foreign key has to go",
    )


def _worth_knowing(table: Table) -> Iterator[str]:
    for column in table.columns:
        for extension in dict.fromkeys((*column.extensions, *(name for name, _ in column.needs.extensions))):
            yield (
                f"{column.name} needs the extension {extension}; where the service's role may not create it, an"
                " administrator does"
            )
    names = {column.name for column in table.columns}
    soft = sorted(names & _SOFT)
    if soft:
        yield f"soft deletes, it seems ({', '.join(soft)}): such rows are moved as any other"
    if {"content_type_id", "object_id"} <= names:
        yield (
            "content_type_id and object_id: a generic relation of Django's, it seems; whom it leads to, and who"
            " leads here in that way, no catalogue knows"
        )
    wide = [column.name for column in table.columns if column.wide and column.drafted and not column.generated]
    if wide and table.replica_identity != "f":
        yield (
            f"large values ({', '.join(wide)}) may be stored apart; an expression that mixes one with other columns"
            " wants REPLICA IDENTITY FULL"
        )
    if not table.readable:
        yield f"the sync's role may not read it yet: grant select on {shown(table.id)} to it"
