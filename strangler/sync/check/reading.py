"""The facts of one database, read by the sync's own role."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import psycopg

from strangler.sync.catalogue import identifier
from strangler.sync.check.facts import Role, Server, Side, Table
from strangler.sync.errors import RightMissing, Unreachable
from strangler.sync.walsender import Walsender

_SERVER: Final = """
select (select system_identifier::text from pg_control_system()), current_setting('server_version_num')::integer,
       current_setting('wal_level'), current_setting('max_replication_slots')::integer,
       (select count(*) from pg_replication_slots), current_setting('max_wal_senders')::integer,
       (select count(*) from pg_stat_activity where backend_type = 'walsender'),
       (select setting::integer from pg_settings where name = 'max_slot_wal_keep_size')
"""
_ORIGINS: Final = ("create(text)", "drop(text)", "session_setup(text)", "session_reset()")
# On managed servers a role to be a member of stands for the attribute.
_ROLE: Final = """
select current_user, current_database(),
       rolsuper or rolreplication or exists (
           select from pg_roles m where m.rolname = 'rds_replication' and pg_has_role(current_user, m.oid, 'member')),
       has_database_privilege(current_database(), 'create'),
       has_parameter_privilege('session_replication_role', 'set')
from pg_roles where rolname = current_user
"""
_FUNCTIONS: Final = """
select name from unnest(%s::text[]) with ordinality as f(name, n)
where not has_function_privilege(name, 'execute') order by n
"""
_TABLE: Final = """
select n.nspname, c.relname, o.rolname, pg_has_role(o.oid, 'member'),
       has_database_privilege(o.oid, current_database(), 'create'),
       array(select right_ from (values ('select', 1), ('insert', 2), ('update', 3)) as r(right_, n)
             where not has_any_column_privilege(c.oid, right_) order by r.n)
         || case when has_table_privilege(c.oid, 'delete') then '{}' else '{delete}' end::text[],
       array(select s.name from pg_attribute a
             cross join pg_get_serial_sequence(c.oid::regclass::text, a.attname) as s(name)
             where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and s.name is not null
               and not has_sequence_privilege(s.name, 'update')),
       array(select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum > 0
             and not a.attisdropped and (c.relreplident = 'f' or exists (
                 select from pg_index i where i.indrelid = c.oid and a.attnum = any(i.indkey)
                 and (c.relreplident = 'd' and i.indisprimary or c.relreplident = 'i' and i.indisreplident)))),
       array(select a.attname::text from pg_attribute a join pg_index i on i.indrelid = c.oid and i.indisprimary
             where a.attrelid = c.oid and a.attnum = any(i.indkey)),
       exists (select from pg_constraint k where k.conrelid = c.oid and (k.contype = 'f' or k.condeferrable))
from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_roles o on o.oid = c.relowner
where c.oid = to_regclass(%s)
"""
# Who may not use a schema is told by to_regclass() of no table in it.
_CLOSED: Final = "select from pg_namespace where nspname = %s and not has_schema_privilege(oid, 'usage')"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A table of the mapping as one side has it: its name there, its key, and what a stream does with it."""

    name: str
    key: frozenset[str]
    published: bool
    written: bool
    copied: bool


def read(connection: psycopg.Connection, url: str, what: str, slot: str, wanted: Iterable[Wanted]) -> Side:
    """Return what is known of a database, whose stream has the slot called ``slot``."""
    tables, closed, absent = [], [], []
    asked = list(wanted)
    for each in asked:
        name = tuple(part.strip('"') for part in each.name.split("."))
        if len(name) > 1 and connection.execute(_CLOSED, [name[0]]).fetchone() is not None:
            closed.append(name)
        elif (table := _table(connection, each)) is not None:
            tables.append(table)
        else:
            absent.append(name)
    role = _role(connection)
    begun = connection.execute("select from pg_replication_slots where slot_name = %s", [slot]).fetchone()
    return Side(
        what=what,
        begun=begun is not None,
        publishes=any(each.published for each in asked),
        server=_server(connection, _refusal(url) if role.replicates else None),
        role=role,
        tables=tuple(tables),
        closed=tuple(closed),
        absent=tuple(absent),
    )


def _server(connection: psycopg.Connection, refusal: str | None) -> Server:
    row = connection.execute(_SERVER).fetchone() or ()
    system, version, wal_level, slots, slots_used, senders, senders_used, keeps = row
    return Server(
        system=system,
        version=version,
        wal_level=wal_level,
        slots=slots,
        slots_free=slots - slots_used,
        senders=senders,
        senders_free=senders - senders_used,
        slot_keeps_mb=keeps,
        refusal=refusal,
    )


def _refusal(url: str) -> str | None:
    try:
        Walsender(url, "strangler sync check").close()
    except (RightMissing, Unreachable) as exc:
        return str(exc)
    return None


def _role(connection: psycopg.Connection) -> Role:
    name, database, replicates, creates, relaxes = connection.execute(_ROLE).fetchone() or ()
    functions = [f"pg_replication_origin_{each}" for each in _ORIGINS]
    missing = tuple(each[0] for each in connection.execute(_FUNCTIONS, [functions]))
    return Role(
        name=name,
        database=database,
        replicates=replicates,
        creates=creates,
        origins_missing=missing,
        relaxes=relaxes,
    )


def _table(connection: psycopg.Connection, wanted: Wanted) -> Table | None:
    row = connection.execute(_TABLE, [identifier(wanted.name).as_string(connection)]).fetchone()
    if row is None:
        return None
    schema, name, owner, acts, creates, missing, sequences, identity, primary, constrained = row
    return Table(
        name=(schema, name),
        published=wanted.published,
        written=wanted.written,
        copied=wanted.copied,
        owner=owner,
        acts_as_owner=acts,
        owner_creates=creates,
        rights_missing=tuple(each for each in missing if wanted.written or each == "select"),
        sequences=tuple(sequences) if wanted.copied else (),
        key=wanted.key,
        identity=frozenset(identity),
        primary=frozenset(primary),
        constrained=constrained,
    )
