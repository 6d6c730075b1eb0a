"""The facts of one database, read by the sync's own role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import psycopg
from psycopg import sql

from strangler.project import Referred
from strangler.sync.catalogue import identifier
from strangler.sync.check.facts import Role, Room, Server, Side, Table
from strangler.sync.check.shapes import shape_of
from strangler.sync.errors import RightMissing, SyncError, Unreachable
from strangler.sync.referring import declared
from strangler.sync.verify.pair import first_line
from strangler.sync.walsender import Walsender

_SERVER: Final = """
select (select system_identifier::text from pg_control_system()), current_setting('server_version_num')::integer,
       pg_is_in_recovery(), current_setting('wal_level'),
       (select setting::integer from pg_settings where name = 'max_slot_wal_keep_size')
"""
# Of other roles' sessions pg_stat_activity hides what kind they are. Origins for copying back are made, and never used.
_ROOMS: Final = """
select 'max_replication_slots', (select count(*) from pg_replication_slots)
union all
select 'max_wal_senders', (select count(*) from pg_stat_replication)
union all
select case when current_setting('max_active_replication_origins', true) is null then 'max_replication_slots'
       else 'max_active_replication_origins' end,
       (select count(*) from pg_replication_origin where roname !~ '^strangler_.*_reverse_copy[0-9]+$')
"""
_ORIGIN: Final = "select from pg_replication_origin where roname = %s"
_ORIGINS: Final = ("create(text)", "drop(text)", "session_setup(text)", "session_reset()")
# On managed servers a role to be a member of stands for the attribute.
_ROLE: Final = """
select current_user, current_database(),
       rolsuper or rolreplication or exists (
           select from pg_roles m where m.rolname = 'rds_replication' and pg_has_role(current_user, m.oid, 'member')),
       has_database_privilege(current_database(), 'create'),
       has_database_privilege(current_database(), 'temporary'),
       has_parameter_privilege('session_replication_role', 'set'),
       pg_has_role(current_user, 'pg_read_all_stats', 'usage')
from pg_roles where rolname = current_user
"""
_OTHERS: Final = """
select distinct coalesce(nullif(application_name, ''), 'unnamed') from pg_stat_activity
where usename = current_user and datname = current_database() and pid <> pg_backend_pid()
  and application_name !~ '^strangler ' order by 1
"""
_FUNCTIONS: Final = """
select name from unnest(%s::text[]) with ordinality as f(name, n)
where not has_function_privilege(name, 'execute') order by n
"""
# What an index only includes is no part of its key.
_TABLE: Final = """
with keys as (
    select indisprimary, indisreplident, (indkey::smallint[])[0:indnkeyatts - 1] as columns
    from pg_index where indrelid = to_regclass(%(table)s)
)
select n.nspname, c.relname, o.rolname, pg_has_role(o.oid, 'member'),
       has_database_privilege(o.oid, current_database(), 'create'),
       array(select right_ from (values ('select', 1), ('insert', 2), ('update', 3)) as r(right_, n)
             where not has_any_column_privilege(c.oid, right_) order by r.n)
         || case when has_table_privilege(c.oid, 'delete') then '{}' else '{delete}' end::text[],
       array(select s.name from pg_attribute a
             cross join pg_get_serial_sequence(c.oid::regclass::text, a.attname) as s(name)
             where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and s.name is not null
               and a.attname = any(%(columns)s)
               and not (has_sequence_privilege(s.name, 'update') and has_sequence_privilege(s.name, 'usage'))),
       array(select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum > 0
             and not a.attisdropped and (c.relreplident = 'f' or exists (
                 select from keys k where a.attnum = any(k.columns)
                 and (c.relreplident = 'd' and k.indisprimary or c.relreplident = 'i' and k.indisreplident)))),
       c.relreplident = 'f',
       array(select a.attname::text from pg_attribute a join keys k on k.indisprimary and a.attnum = any(k.columns)
             where a.attrelid = c.oid),
       exists (select from pg_attribute a where a.attrelid = c.oid and a.attgenerated = 'v' and not a.attisdropped),
       exists (select from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and a.attlen = -1
               and a.attstorage <> 'p' and a.attgenerated = '' and not a.attisdropped),
       exists (select from pg_constraint k where k.conrelid = c.oid and (k.contype = 'f' or k.condeferrable)
               or k.confrelid = c.oid and k.contype = 'f')
from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_roles o on o.oid = c.relowner
where c.oid = to_regclass(%(table)s)
"""
# What servers say that have PostgreSQL's protocol alone.
_OTHER_KINDS: Final = (
    psycopg.errors.FeatureNotSupported,
    psycopg.errors.SyntaxError,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.UndefinedObject,
    psycopg.errors.UndefinedTable,
)
# Who may not use a schema is told by to_regclass() of no table in it.
_CLOSED: Final = "select from pg_namespace where nspname = %s and not has_schema_privilege(oid, 'usage')"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A table of the mapping as one side has it: its name there, its key, and what a stream does with it."""

    name: str
    key: frozenset[str]
    columns: frozenset[str]
    published: bool
    written: bool
    copied: bool
    conditional: bool = False
    referred_by: tuple[Referred, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One of the two databases, what is called how in it, and its tables of the mapping.

    ``slot`` is that of the stream which begins here. The one that ends here has ``origins``, the first for good.
    ``claims`` are the capabilities whose tables there are, by these.
    """

    what: str
    url: str
    slot: str
    origins: Sequence[str]
    tables: Sequence[Wanted]
    claims: Mapping[str, str]


def read(connection: psycopg.Connection, place: Place) -> Side:
    """Return what is known of a database. Raises ``RightMissing``, and ``SyncError`` where it is another kind."""
    try:
        return _read(connection, place)
    except _OTHER_KINDS as exc:
        raise SyncError(
            f"the {place.what} has not what logical decoding wants, and its capabilities can be routed only:"
            f" {first_line(exc)}"
        ) from exc


def _read(connection: psycopg.Connection, place: Place) -> Side:
    names = {each: tuple(part.strip('"') for part in each.name.split(".")) for each in place.tables}
    closed = [each for each, name in names.items() if _is_closed(connection, name)]
    seen = [each for each in place.tables if each not in closed]
    # A table that is only read here, as a reference, is as any other from outside.
    mapped = [identifier(each.name).as_string(connection) for each in seen if each.written]
    tables = {each: table for each in seen if (table := _table(connection, each, mapped, place.claims)) is not None}
    role = _role(connection)
    server = _server(connection)  # first: a session that is tried takes one of the places that it counts
    return Side(
        what=place.what,
        begun=_is_there(connection, "select from pg_replication_slots where slot_name = %s", place.slot),
        publishes=any(each.published for each in place.tables),
        origins=0 if _is_there(connection, _ORIGIN, place.origins[0]) else len(place.origins),
        server=replace(server, refusal=_refusal(place.url)) if role.replicates else server,
        role=role,
        tables=tuple(tables.values()),
        closed=tuple(names[each] for each in closed),
        absent=tuple(names[each] for each in seen if each not in tables),
    )


def _is_closed(connection: psycopg.Connection, name: tuple[str, ...]) -> bool:
    return len(name) > 1 and _is_there(connection, _CLOSED, name[0])


def _is_there(connection: psycopg.Connection, query: str, name: str) -> bool:
    return connection.execute(query, [name]).fetchone() is not None


def _server(connection: psycopg.Connection) -> Server:
    try:
        system, version, standby, wal_level, keeps = connection.execute(_SERVER).fetchone() or ()
    except psycopg.errors.InsufficientPrivilege as exc:
        role = sql.Identifier(connection.info.user).as_string(connection)
        raise RightMissing(
            f"{connection.info.dbname} does not tell which server it is of: {first_line(exc)};"
            f" run there: grant execute on function pg_control_system() to {role}"
        ) from exc
    slots, senders, origins = (_room(connection, *each) for each in connection.execute(_ROOMS).fetchall())
    return Server(
        system=system,
        version=version,
        standby=standby,
        wal_level=wal_level,
        slots=slots,
        senders=senders,
        origins=origins,
        slot_keeps_mb=keeps,
    )


def _room(connection: psycopg.Connection, setting: str, used: int) -> Room:
    row = connection.execute("select current_setting(%s)::integer", [setting]).fetchone()
    places = row[0] if row else 0
    return Room(setting=setting, places=places, free=places - used)


def _refusal(url: str) -> str | None:
    try:
        Walsender(url, "strangler sync check").close()
    except (RightMissing, Unreachable) as exc:
        return str(exc)
    return None


def _role(connection: psycopg.Connection) -> Role:
    name, database, replicates, creates, stages, relaxes, sees = connection.execute(_ROLE).fetchone() or ()
    functions = [f"pg_replication_origin_{each}" for each in _ORIGINS]
    missing = tuple(each[0] for each in connection.execute(_FUNCTIONS, [functions]))
    return Role(
        name=name,
        database=database,
        replicates=replicates,
        creates=creates,
        stages=stages,
        origins_missing=missing,
        relaxes=relaxes,
        sees=sees,
        others=tuple(each[0] for each in connection.execute(_OTHERS)),
    )


def _table(
    connection: psycopg.Connection, wanted: Wanted, mapped: Sequence[str], claims: Mapping[str, str]
) -> Table | None:
    quoted = identifier(wanted.name).as_string(connection)
    asked = {"table": quoted, "columns": [*wanted.key, *wanted.columns]}
    row = connection.execute(_TABLE, asked).fetchone()
    if row is None:
        return None
    schema, name, owner, acts, creates, missing, sequences, identity, whole, primary, virtual, long, constrained = row
    return Table(
        name=(schema, name),
        published=wanted.published,
        written=wanted.written,
        copied=wanted.copied,
        conditional=wanted.conditional,
        owner=owner,
        acts_as_owner=acts,
        owner_creates=creates,
        rights_missing=tuple(each for each in missing if wanted.written or each == "select"),
        sequences=tuple(sequences) if wanted.copied else (),
        key=wanted.key,
        columns=wanted.columns,
        identity=frozenset(identity),
        whole=whole,
        primary=frozenset(primary),
        virtual=virtual,
        long=long,
        constrained=constrained,
        shape=replace(
            shape_of(connection, quoted, list(wanted.key), mapped, claims),
            declared=tuple(declared(connection, each) for each in wanted.referred_by),
        ),
    )
