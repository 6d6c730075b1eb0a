"""What a script wants to exist first: ports, secrets, engines, roles and databases; and the variables they give."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import psycopg
from psycopg import sql

from strangler.demo.folder import Folder
from strangler.demo.script import POSTGRES_PORT, VALKEY_PORT, Database, Role, Setting
from strangler.local import PortTaken, Postgres, Valkey, ensure_database, ensure_role, refuse_taken
from strangler.project import Problem, ProjectInvalid

SECRET: Final = "STRANGLER_SECRET"  # noqa: S105  # the variable's name
_RIGHTS: Final = {
    "read": {"tables": "select"},
    # What feeds a copied column goes on behind the highest value that was copied.
    "write": {"tables": "select, insert, update, delete, truncate", "sequences": "usage, update"},
    "sync": {"tables": "select, insert, update, delete, truncate", "sequences": "usage, select, update"},
}
# What a stream is made of, and what PostgreSQL lets nobody do of itself.
_ORIGINS: Final = ("create(text)", "drop(text)", "session_setup(text)", "session_reset()")
_OTHER_BASES: Final = range(9_000, 60_000, 1_000)


@dataclass(slots=True, kw_only=True)
class Stage:
    """The engines of one folder. ``variables`` are what strangler.toml and the script may name.

    ``outside`` is the environment: servers whose URLs stand in it are used as they are.
    """

    folder: Folder
    setting: Setting
    port_base: int
    outside: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    variables: dict[str, str] = field(default_factory=dict, init=False)

    @property
    def own_databases(self) -> list[Database]:
        """The databases that no URL in the environment replaces. Raises ``ProjectInvalid`` for halves."""
        own = []
        for database in self.setting.databases:
            given = [name for name in database.variables if self._is_given(name)]
            missing = [name for name in database.variables if name not in given]
            if given and missing:
                raise ProjectInvalid((_half(database, given, missing),))
            if missing:
                own.append(database)
        return own

    @property
    def own_valkey(self) -> bool:
        return not self._is_given(self.setting.redis)

    @property
    def ports(self) -> dict[str, int]:
        """The ports by variable; those of engines that exist elsewhere are left out."""
        return self._ports(self.port_base)

    def refuse_taken(self) -> None:
        """Raise ``PortTaken`` naming every port that somebody else listens on, before anything is started."""
        try:
            refuse_taken({_spoken(name): port for name, port in self.ports.items()})
        except PortTaken as exc:
            raise PortTaken(f"{exc}; end that, or move the whole family: --port-base {self._free_base()}") from exc

    def postgres(self) -> Postgres:
        return Postgres(folder=self.folder.path / "postgres", port=self.ports[POSTGRES_PORT])

    def valkey(self) -> Valkey:
        return Valkey(folder=self.folder.path / "valkey", port=self.ports[VALKEY_PORT])

    def furnish(self, postgres: Postgres | None, valkey: Valkey | None) -> None:
        """Make roles and databases in the engines that run now, name everything, and write ``demo.env``."""
        self.variables["PYTHON"] = sys.executable
        self.variables |= {name: str(port) for name, port in self.ports.items()}
        self.variables |= {name: self.folder.secret(name) for name in (SECRET, *self.setting.secrets)}
        if postgres is not None:
            with psycopg.connect(postgres.url(), autocommit=True) as connection:
                for database in self.own_databases:
                    self._make(connection, postgres, database)
        if valkey is not None:
            self.variables[self.setting.redis] = valkey.url
        self.folder.write_env(self.variables)

    def _is_given(self, name: str) -> bool:
        return bool(self.outside.get(name) or self.outside.get(f"{name}_FILE"))

    def _ports(self, base: int) -> dict[str, int]:
        ports = {name: base + offset for name, offset in self.setting.ports.items()}
        if not self.own_databases:
            del ports[POSTGRES_PORT]
        if not self.own_valkey:
            del ports[VALKEY_PORT]
        return ports

    def _free_base(self) -> int:
        for base in _OTHER_BASES:
            try:
                refuse_taken(self._ports(base))
            except PortTaken:
                continue
            return base
        return self.port_base

    def _make(self, connection: psycopg.Connection, server: Postgres, database: Database) -> None:
        roles = (database.owner, *(role.name for role in database.roles))
        words = {name: self.folder.secret(f"password of {name}") for name in roles}
        for name, word in words.items():
            ensure_role(connection, name, word)
        ensure_database(connection, database.name, database.owner)
        with psycopg.connect(server.url(database.name), autocommit=True) as inside:
            for role in database.roles:
                _grant(inside, database, role)
                if role.may == "sync":
                    _let_sync(inside, database, role)
        self.variables[database.variable] = server.url(database.name, database.owner, words[database.owner])
        for role in database.roles:
            self.variables[role.variable] = server.url(database.name, role.name, words[role.name])


def _half(database: Database, given: list[str], missing: list[str]) -> Problem:
    return Problem(
        file="demo.toml",
        key=f"[[database]] {database.name}",
        found=f"{', '.join(given)} in the environment without {', '.join(missing)}",
        wanted="all of them, for a server that exists, or none, for one that is started here",
    )


def _grant(connection: psycopg.Connection, database: Database, role: Role) -> None:
    """Let a role use the tables that the owner has made, and those that it will make."""
    names = {"role": sql.Identifier(role.name), "owner": sql.Identifier(database.owner)}
    # Who writes a copy stages rows in a temporary table when some of a chunk are there already.
    entry = sql.SQL("connect" if role.may == "read" else "connect, temporary")
    for statement in (
        sql.SQL("grant {entry} on database {base} to {role}").format(
            entry=entry, base=sql.Identifier(database.name), **names
        ),
        sql.SQL("grant usage on schema public to {role}").format(**names),
    ):
        connection.execute(statement)
    for things, rights in _RIGHTS[role.may].items():
        for grant in (
            "grant {rights} on all {things} in schema public to {role}",
            "alter default privileges for role {owner} in schema public grant {rights} on {things} to {role}",
        ):
            connection.execute(sql.SQL(grant).format(rights=sql.SQL(rights), things=sql.SQL(things), **names))


def _let_sync(connection: psycopg.Connection, database: Database, role: Role) -> None:
    """Let a role stream: out of the tables as a member of their owner, which it becomes for the publication alone."""
    names = {"role": sql.Identifier(role.name), "owner": sql.Identifier(database.owner)}
    functions = sql.SQL(", ").join(sql.SQL(f"pg_replication_origin_{each}") for each in _ORIGINS)
    for statement in (
        sql.SQL("alter role {role} replication").format(**names),
        sql.SQL("grant {owner} to {role} with inherit false").format(**names),
        sql.SQL("grant create on database {base} to {role}").format(base=sql.Identifier(database.name), **names),
        sql.SQL("grant execute on function {functions} to {role}").format(functions=functions, **names),
        sql.SQL("grant set on parameter session_replication_role to {role}").format(**names),
    ):
        connection.execute(statement)


def _spoken(variable: str) -> str:
    return variable.removesuffix("_PORT").replace("_", " ").lower()
