"""Changes that the sync applies, kept for code that must run after them: its reactions, in the target's own database.

A trigger for each row notes what changed, so that it is exact whatever way the row was written: by an upsert, by rows
that came without a long value, by a delete that cascades. It looks at nobody's writes but the sync's, and not at copies
that a backfill makes: those are no changes. What is noted is in the transaction that changed the row, so there is no
change without its note, and no note without its change.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import sql

from strangler.project import Reaction, TableMapping
from strangler.sync.catalogue import Table, look_up
from strangler.sync.direction import Direction
from strangler.sync.errors import MappingInvalid
from strangler.sync.fencing import SCHEMA, as_role, may_act, patiently
from strangler.sync.granting import let_call, let_react
from strangler.sync.rights import rights

_PREFIX: Final = "strangler_react_"
_SETTING: Final = "strangler.reactions"
_COUNTED: Final = 100_000
"""Of more that wait nobody need know the number, and to count them all would take seconds."""
# The parts of a partitioned table take the trigger over.
_BEARERS: Final = """
select t.tgname::text, c.oid::bigint, format('%I.%I', n.nspname, c.relname), pg_get_userbyid(c.relowner),
       convert_from(trim(trailing '\\x00'::bytea from t.tgargs), 'UTF8')
from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
where t.tgfoid = to_regproc('strangler_sync.react') and t.tgparentid = 0 order by 1
"""
_OWNER: Final = "select pg_get_userbyid(relowner) from pg_class where oid = %s"
_WAITING: Final = """
select name, waiting.number, extract(epoch from clock_timestamp() - waiting.oldest)::float8, t.tries, t.error, t.change
from (select unnest(%(declared)s::text[]) union
      select reaction from strangler_sync.reaction where capability = %(capability)s) as names (name)
cross join lateral (select count(*) as number, min(at) as oldest from
  (select at from strangler_sync.reaction where reaction = name order by id limit %(counted)s) as first) as waiting
left join strangler_sync.reaction_trouble t on t.reaction = name and waiting.number > 0
order by name
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reacting:
    """Where one reaction stands: how many changes wait for it, for how long, and what keeps it from going on.

    ``waiting`` is at most 100,000.
    """

    name: str
    waiting: int
    oldest_s: float | None
    tries: int | None = None
    trouble: str | None = None
    change: int | None = None


@dataclass(frozen=True, slots=True)
class _Bearer:
    """A trigger of a reaction that is there; ``argument`` is what it was made with."""

    oid: int
    table: str
    owner: str
    argument: str


def exists(connection: psycopg.Connection) -> bool:
    """Return whether changes can be noted there; a release before did not do so."""
    row = connection.execute("select to_regclass('strangler_sync.reaction_trouble') is not null").fetchone()
    return bool(row and row[0])


def note(connection: psycopg.Connection) -> None:
    """Have what this session writes noted for reactions."""
    connection.execute("select set_config(%s, 'noted', false)", [_SETTING])


def declared(direction: Direction) -> Iterator[tuple[TableMapping, Reaction]]:
    """Yield what is to run where ``direction`` ends, with its table."""
    for table in direction.tables:
        for each in table.reactions:
            if each.stack is direction.stack:
                yield table, each


def unknown(target: psycopg.Connection, direction: Direction) -> Iterator[str]:
    """Yield which columns are declared for a reaction, and not there."""
    for mapping, each in declared(direction):
        table = look_up(target, mapping.target)
        missing = [] if table is None else [name for name in each.columns if name not in table.columns]
        if table is not None and missing:
            yield (
                f"[[table.reaction]] {each.name}: {table.name} has no column {', '.join(missing)}; there:"
                f" {', '.join(table.columns)}"
            )


def install(target: psycopg.Connection, direction: Direction) -> None:
    """Have changes noted for what is declared, and for nothing else any more.

    What is there already stays as it is, without a lock. Raises ``MappingInvalid``, ``RightMissing``, and ``TimedOut``
    naming whom a table waited for.
    """
    problems = [f"{direction.file}: {each}" for each in unknown(target, direction)]
    if problems:
        raise MappingInvalid(problems)
    there = _bearers(target, direction.capability)
    wanted: dict[str, tuple[Table, str]] = {}
    tables = [found for each in direction.tables if (found := look_up(target, each.target)) is not None]
    for mapping, each in declared(direction):
        table = look_up(target, mapping.target)
        if table is not None:  # the stream itself says that it is not there
            wanted[each.name] = (table, _argument(target, direction, mapping, each, table))
    for name, bearer in there.items():
        if name not in wanted or wanted[name] != (wanted[name][0], bearer.argument):
            _drop(target, name, bearer)
    for name, (table, argument) in wanted.items():
        if name not in there or there[name].argument != argument:
            _make(target, name, table, argument)
    let_react(target, [each.oid for each in tables])


def remove(target: psycopg.Connection, direction: Direction) -> None:
    """Take away what a stream's reactions left, those that still waited with it."""
    if not exists(target):
        return
    names = [each.name for _, each in declared(direction)]
    for name, bearer in _bearers(target, direction.capability).items():
        names.append(name)
        _drop(target, name, bearer)
    target.execute("delete from strangler_sync.reaction where capability = %s", [direction.capability])
    target.execute("delete from strangler_sync.reaction_trouble where reaction = any(%s)", [names])


def standing(target: psycopg.Connection, direction: Direction) -> tuple[Reacting, ...]:
    """Return where the reactions stand to what ``direction`` brings."""
    names = [each.name for _, each in declared(direction)]
    if not exists(target):
        return ()
    asked = {"declared": names, "capability": direction.capability, "counted": _COUNTED}
    return tuple(
        Reacting(name=name, waiting=number, oldest_s=oldest, tries=tries, trouble=error, change=change)
        for name, number, oldest, tries, error, change in target.execute(_WAITING, asked)
    )


def _argument(
    target: psycopg.Connection, direction: Direction, mapping: TableMapping, reaction: Reaction, table: Table
) -> str:
    # As it stands in the catalogue, so that it is known again; with the role for which it fires.
    return json.dumps(
        {
            "capability": direction.capability,
            "reaction": reaction.name,
            "table": mapping.target,
            "key": list(mapping.key),
            "columns": list(reaction.columns or table.columns),
            "role": target.info.user,
        },
        ensure_ascii=True,
    )


def _bearers(target: psycopg.Connection, capability: str) -> dict[str, _Bearer]:
    found: dict[str, _Bearer] = {}
    for trigger, oid, table, owner, argument in target.execute(_BEARERS):
        told: Mapping[str, object] = json.loads(argument)
        if told["capability"] == capability:
            found[trigger.removeprefix(_PREFIX)] = _Bearer(oid, table, owner, argument)
    return found


def _make(target: psycopg.Connection, name: str, table: Table, argument: str) -> None:
    row = target.execute(_OWNER, [table.oid]).fetchone()
    owner = row[0] if row else ""
    may_act(target, {owner: table.name})
    trigger = sql.Identifier(_PREFIX + name)
    making = sql.SQL(
        "create trigger {trigger} after insert or update or delete on {table} for each row"
        " when (session_user = {role} and current_setting({setting}, true) = 'noted')"
        " execute function {schema}.react({argument});"
        # Rows that repair rewrites come with the triggers of others switched off.
        " alter table {table} enable always trigger {trigger}"
    ).format(
        trigger=trigger,
        table=sql.SQL(_quoted(target, table)),
        role=sql.Literal(target.info.user),
        setting=sql.Literal(_SETTING),
        schema=sql.Identifier(SCHEMA),
        argument=sql.Literal(argument),
    )

    let_call(target, owner)
    with rights(target):
        patiently(target, [table.oid], table.name, lambda: as_role(target, owner, [making]))


def _drop(target: psycopg.Connection, name: str, bearer: _Bearer) -> None:
    drop: Sequence[sql.Composed] = [
        sql.SQL("drop trigger {} on {}").format(sql.Identifier(_PREFIX + name), sql.SQL(bearer.table))
    ]
    may_act(target, {bearer.owner: bearer.table})
    patiently(target, [bearer.oid], bearer.table, lambda: as_role(target, bearer.owner, drop), readers=True)


def _quoted(target: psycopg.Connection, table: Table) -> str:
    row = target.execute(
        "select format('%%I.%%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where c.oid = %s",
        [table.oid],
    ).fetchone()
    return row[0] if row else table.name
