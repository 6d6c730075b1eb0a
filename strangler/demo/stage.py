"""What a script wants to exist first: ports, secrets, engines, roles and databases; and the variables they give."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from strangler.demo.script import POSTGRES_PORT, VALKEY_PORT, Database, Role, Setting
from strangler.local import Postgres, Valkey, ensure_database, ensure_role, refuse_taken

SECRET: Final = "STRANGLER_SECRET"  # noqa: S105  # the variable's name
_RIGHTS: Final = {"read": "select", "write": "select, insert, update, delete, truncate"}


@dataclass(slots=True, kw_only=True)
class Stage:
    """The engines of one folder. ``variables`` are what strangler.toml and the script may name."""

    folder: Path
    setting: Setting
    port_base: int
    outside: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    postgres: Postgres | None = field(default=None, init=False)
    valkey: Valkey | None = field(default=None, init=False)
    variables: dict[str, str] = field(default_factory=dict, init=False)

    @property
    def ports(self) -> dict[str, int]:
        """The ports by variable; those of engines that exist elsewhere are left out."""
        ports = {name: self.port_base + offset for name, offset in self.setting.ports.items()}
        if not self._own_databases():
            del ports[POSTGRES_PORT]
        if self.setting.redis in self.outside:
            del ports[VALKEY_PORT]
        return ports

    def refuse_taken(self) -> None:
        """Raise ``PortTaken`` naming every port that somebody else listens on, before anything is started."""
        refuse_taken({_spoken(name): port for name, port in self.ports.items()})

    def set(self) -> None:
        """Start the engines that do not exist elsewhere, make roles and databases, and write ``demo.env``."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.variables |= {name: str(port) for name, port in self.ports.items()}
        self.variables |= {name: self._word(name) for name in (SECRET, *self.setting.secrets)}
        own = self._own_databases()
        if own:
            self.postgres = Postgres(folder=self.folder / "postgres", port=self.ports[POSTGRES_PORT])
            self.postgres.start()
            with psycopg.connect(self.postgres.url(), autocommit=True) as connection:
                for database in own:
                    self._make(connection, self.postgres, database)
        if self.setting.redis not in self.outside:
            self.valkey = Valkey(folder=self.folder / "valkey", port=self.ports[VALKEY_PORT])
            self.valkey.start()
            self.variables[self.setting.redis] = self.valkey.url
        self._write()

    def _own_databases(self) -> list[Database]:
        return [each for each in self.setting.databases if not all(name in self.outside for name in each.variables)]

    def _make(self, connection: psycopg.Connection, server: Postgres, database: Database) -> None:
        words = {
            name: self._word(f"password of {name}") for name in (database.owner, *(r.name for r in database.roles))
        }
        for name, word in words.items():
            ensure_role(connection, name, word)
        ensure_database(connection, database.name, database.owner)
        with psycopg.connect(server.url(database.name), autocommit=True) as inside:
            for role in database.roles:
                _grant(inside, database, role)
        self.variables[database.variable] = server.url(database.name, database.owner, words[database.owner])
        for role in database.roles:
            self.variables[role.variable] = server.url(database.name, role.name, words[role.name])

    def _word(self, name: str) -> str:
        """Return the secret called ``name``: made once, kept where only this user reads it."""
        path = self.folder / "secrets" / name.replace(" ", "-").lower()
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if not path.exists():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(48))
        return path.read_text().strip()

    def _write(self) -> None:
        lines = "".join(f"{name}={value}\n" for name, value in sorted(self.variables.items()))
        path = self.folder / "demo.env"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(lines)


def _grant(connection: psycopg.Connection, database: Database, role: Role) -> None:
    """Let a role use the tables that the owner has made, and those that it will make."""
    names = {"role": sql.Identifier(role.name), "owner": sql.Identifier(database.owner)}
    rights = sql.SQL(_RIGHTS[role.may])
    for statement in (
        sql.SQL("grant connect on database {base} to {role}").format(base=sql.Identifier(database.name), **names),
        sql.SQL("grant usage on schema public to {role}").format(**names),
        sql.SQL("grant {rights} on all tables in schema public to {role}").format(rights=rights, **names),
        sql.SQL("alter default privileges for role {owner} in schema public grant {rights} on tables to {role}").format(
            rights=rights, **names
        ),
    ):
        connection.execute(statement)


def _spoken(variable: str) -> str:
    return variable.removesuffix("_PORT").replace("_", " ").lower()
