"""Rights that a database refuses, turned into the statement that gives them, and the tables' owner acted for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from strangler.sync.errors import RightMissing


@contextmanager
def rights(connection: psycopg.Connection, acting: str = "") -> Iterator[None]:
    """Turn a right that is missing into the statement that gives it to who is ``acting``, this role unless said."""
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as exc:
        role = sql.Identifier(acting or connection.info.user).as_string(connection)
        database = sql.Identifier(connection.info.dbname).as_string(connection)
        raise RightMissing(f"{sentence(exc)}; {_cure(str(exc), role, database)}") from exc


@contextmanager
def as_owner(connection: psycopg.Connection, owner: str, name: str) -> Iterator[None]:
    """Act as whoever ``owner`` finds, where this role may, for one transaction: for no other use is it a member."""
    query = sql.SQL("select rolname from pg_roles where oid = ({}) and pg_has_role(oid, 'member')")
    with connection.transaction():
        row = connection.execute(query.format(sql.SQL(owner)), [name]).fetchone()
        role = row[0] if row else connection.info.user
        connection.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
        with rights(connection, role):
            yield


def sentence(exc: psycopg.Error) -> str:
    return str(exc).strip().splitlines()[0]


def _cure(message: str, role: str, database: str) -> str:
    if "database" in message:
        return f"run there: grant create on database {database} to {role}"
    if "pg_replication_origin" in message:
        calls = ("create(text)", "drop(text)", "session_setup(text)", "session_reset()")
        functions = ", ".join(f"pg_replication_origin_{each}" for each in calls)
        return f"run there as a superuser: grant execute on function {functions} to {role}"
    if "owner" in message:
        return f"run there: grant ROLE_THAT_OWNS_THE_TABLES to {role}"
    return f"run there: alter role {role} replication"
