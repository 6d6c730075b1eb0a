"""What ``strangler local`` wants to exist: for each name a database, the role that owns it, and one for the sync."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from strangler.demo.script import POSTGRES_PORT, VALKEY_PORT, Database, Role, Setting
from strangler.local import EngineError

LEDGER: Final = "strangler"
_PORTS: Final = {POSTGRES_PORT: 432, VALKEY_PORT: 379}  # above the base, as the worked example has them
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,40}")
_TAKEN: Final = frozenset(("postgres", "template0", "template1", "public"))


def setting(names: Sequence[str]) -> Setting:
    """Return the databases called ``names``, and the ledger's. Raises ``EngineError`` for what is no name."""
    for name in names:
        if _NAME.fullmatch(name) is None or name in _TAKEN or name.startswith("pg_"):
            raise EngineError(f"{name!r} is no name for a database here: a-z, 0-9 and _, a letter first, at most 41")
    wanted = [name for name in dict.fromkeys(names) if name != LEDGER]
    databases = (*map(_database, wanted), Database(name=LEDGER, owner=LEDGER, variable=_variable(LEDGER)))
    return Setting(ports=_PORTS, secrets=(), redis="REDIS_URL", databases=databases)


def _database(name: str) -> Database:
    sync = Role(name=f"{name}_sync", variable=_variable(f"{name}_sync"), may="sync")
    return Database(name=name, owner=name, variable=_variable(name), roles=(sync,))


def _variable(name: str) -> str:
    return f"{name.upper()}_DATABASE_URL"
