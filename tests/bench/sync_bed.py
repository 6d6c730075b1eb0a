"""Two PostgreSQL servers of their own with a table of orders in the one, and in the other what is made of it.

The other one has the orders as they are, too: what peers copy, which make nothing of them.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from strangler.ledger import Publisher
from strangler.local import Postgres, Valkey, ensure_database, ensure_role
from strangler.project import Project, load
from strangler.sync import install, syncing
from strangler.sync.direction import Direction, directions
from tests.fixtures.ports import free_port
from tests.fixtures.rights import RIGHTS

CAPABILITY: Final = "orders"
WORD: Final = "measurements only"
# What a server is given that has a core and some memory for itself. Durability is as PostgreSQL has it by default.
_SETTINGS: Final = {
    "shared_buffers": "1GB",
    "max_wal_size": "16GB",
    "min_wal_size": "4GB",  # files that are ready stay: see ``Bed.ready_wal``
    "checkpoint_timeout": "30min",
    "track_commit_timestamp": "on",
    "maintenance_work_mem": "256MB",
    "autovacuum": "off",  # it would come to one side of a pair and not to the other; the bed looks after its tables
}
MEMORY: Final = Path("/dev/shm")
_FEW_FILES: Final = {"max_wal_size": "2GB", "min_wal_size": "80MB"}  # of a server in memory
PURCHASE: Final = """
create table purchase (
  id bigint primary key, customer_id integer not null, reference uuid not null, status varchar(20) not null,
  price numeric(10, 2) not null, quantity integer not null, note text not null, paid boolean not null,
  created timestamptz not null, updated timestamptz not null
)
"""
_FILL: Final = """
insert into purchase
select n, n %% 50000, md5(n::text)::uuid, (array['open', 'paid', 'sent', 'back'])[1 + n %% 4], n %% 100000 / 7.0,
  1 + n %% 5, repeat('note ', (n %% 16)::int), n %% 3 > 0, timestamptz '2026-01-01' + n * interval '1 second',
  timestamptz '2026-02-01' + n * interval '1 second'
from generate_series(%s::bigint, %s::bigint) n
"""
_TARGET: Final = """
create table sale (
  id bigint primary key, customer integer not null, reference uuid not null, state text not null,
  cents bigint not null, quantity integer not null, note text not null, paid boolean not null,
  created timestamptz not null, updated timestamptz not null
)
"""
_MAPPING: Final = """
[[table]]
source = "purchase"
target = "sale"
key = { id = "id" }
[table.forward]
customer = "customer_id"
reference = "reference"
state = "upper(status)"
cents = "(price * 100)::bigint"
quantity = "quantity"
note = "note"
paid = "paid"
created = "created"
updated = "updated"
[table.reverse]
customer_id = "customer"
reference = "reference"
status = "lower(state)"
price = "(cents / 100.0)::numeric(10, 2)"
quantity = "quantity"
note = "note"
paid = "paid"
created = "created"
updated = "updated"
"""


_ASKED: Final = syncing.Asked(capability=CAPABILITY, who="bench", reason="bench")


@dataclass(frozen=True, slots=True)
class Bed:
    """The two servers, and a project that knows them. Statements are run by superusers."""

    source: Postgres
    target: Postgres
    project: Project

    @property
    def forward(self) -> Direction:
        return directions(self.project.capabilities[CAPABILITY], self.project)[0]

    def fill(self, first: int, last: int) -> None:
        """Make orders with the numbers from ``first`` to ``last``, and have PostgreSQL look at them."""
        self.run(self.source, _FILL, first, last)
        self.run(self.source, "vacuum analyze purchase")

    def run(self, server: Postgres, statement: str, *given: object) -> list[Any]:
        with psycopg.connect(server.url("shop"), autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), given or None)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def looking(self, server: Postgres) -> Iterator[psycopg.Connection]:
        """Yield a session for statements that are asked again and again."""
        with psycopg.connect(server.url("shop"), autocommit=True) as connection:
            yield connection

    def empty(self, *tables: str) -> None:
        """Empty tables of the target, and bring what was written before to disk on both sides."""
        self.run(self.target, f"truncate {', '.join(tables)}")
        for server in (self.source, self.target):
            self.run(server, "checkpoint")

    def ready_wal(self, server: Postgres, files: int) -> None:
        """Have so many files of WAL ready to be written again, as on a server that has run for long.

        Making one took 30 to 45 ms of whoever came to it, each 10 s.
        """
        with self.looking(server) as connection:
            for _ in range(files):
                connection.execute("select pg_logical_emit_message(false, '', ''), pg_switch_wal()")
            connection.execute("checkpoint")
            ahead = (
                "select from pg_ls_waldir() where name > pg_walfile_name(pg_current_wal_lsn()) and name !~ '[^0-9A-F]'"
            )
            ready = connection.execute(ahead).rowcount
            assert ready >= files, f"{ready} files of WAL are ready"

    def start(self) -> None:
        """Begin both streams as ``sync start --replace`` does; the rows are still to be copied."""
        with Publisher.open(self.project) as publisher:
            syncing.start(_ASKED, self.project, publisher, replace=True)

    def remove(self) -> None:
        """Take both streams away again."""
        with Publisher.open(self.project) as publisher:
            syncing.remove(_ASKED, self.project, publisher)

    def begin(self) -> None:
        """Begin the forward stream on two sides that are equal."""
        install.install(self.forward, copying=False)

    def end(self) -> None:
        install.remove(self.forward)

    @contextmanager
    def following(self) -> Iterator[None]:
        """Have both streams begun meanwhile, on two sides that are equal, as they are where the sync is on."""
        both = directions(self.project.capabilities[CAPABILITY], self.project)
        with ExitStack() as stack:
            for each in both:
                stack.callback(install.remove, each)
                install.install(each, copying=False)
            yield

    def program(self, name: str) -> str:
        """Return the path of one of PostgreSQL's own programs, of the servers' version."""
        return self.source.program(name)


@contextmanager
def _folder(within: Path | None = None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="strangler-bench-", dir=within) as folder:
        yield Path(folder)


@contextmanager
def made(rows: int, target_in: Path | None = None) -> Iterator[Bed]:
    """Run two servers, with ``rows`` orders in the one, and no sale yet in the other."""
    settings = _SETTINGS if target_in is None else {**_SETTINGS, **_FEW_FILES}
    with _folder() as folder, _folder(target_in) as other, ExitStack() as stack:
        servers = [
            stack.enter_context(Postgres(folder=where / name, port=free_port(), settings=chosen))
            for name, where, chosen in (("source", folder, _SETTINGS), ("target", other, settings))
        ]
        valkey = stack.enter_context(Valkey(folder=folder / "valkey", port=free_port()))
        for server, table in zip(servers, (PURCHASE, _TARGET + ";" + PURCHASE), strict=True):
            _furnish(server, table)
        bed = Bed(servers[0], servers[1], _project(folder, servers, valkey))
        with Publisher.open(bed.project) as publisher:
            publisher.enrol(bed.project, who="bench", reason="first")
        if rows:
            bed.fill(1, rows)
        yield bed


def _furnish(server: Postgres, table: str) -> None:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        for role in ("owner", "sync"):
            ensure_role(connection, role, WORD)
        ensure_database(connection, "shop", "owner")
        ensure_database(connection, "control", "owner")
    with psycopg.connect(server.url("shop", "owner", WORD), autocommit=True) as connection:
        connection.execute(table.encode())
    with psycopg.connect(server.url("shop"), autocommit=True) as connection:
        connection.execute(sql.SQL(RIGHTS).format(base=sql.Identifier("shop")))


def _project(folder: Path, servers: list[Postgres], valkey: Valkey) -> Project:
    source, target = servers
    orders = folder / "migrations" / CAPABILITY
    orders.mkdir(parents=True)
    (orders / "capability.toml").write_text(f'service = "{CAPABILITY}"\n[[route]]\npath = "/orders"\n')
    (orders / "mapping.toml").write_text(_MAPPING)
    (folder / "env").write_text(
        f"REDIS={valkey.url}\nSECRET={secrets.token_hex(32)}\nSOURCE={source.url('shop', 'sync', WORD)}\n"
        f"TARGET={target.url('shop', 'sync', WORD)}\nCONTROL={target.url('control', 'owner', WORD)}\n"
    )
    (folder / "strangler.toml").write_text(
        'env_file = "env"\n[monolith]\nendpoints = ["http://127.0.0.1:1"]\ndatabase = "$SOURCE"\n'
        '[control]\ndatabase = "$CONTROL"\nredis = "$REDIS"\nsecret = "$SECRET"\n'
        f'[service.{CAPABILITY}]\nendpoints = ["http://127.0.0.1:2"]\ndatabase = "$TARGET"\n'
    )
    return load(folder / "strangler.toml")
