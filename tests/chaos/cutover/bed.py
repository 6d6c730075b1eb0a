"""Three PostgreSQL servers, Valkey, two stacks behind a proxy, the sync twice, Celery: each a process that can die."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import httpx
import psutil
import psycopg
from psycopg import sql

from strangler.ledger import Publisher
from strangler.local import EngineError, Postgres, Valkey, dies_with_parent, ensure_database, ensure_role
from strangler.project import Project, load
from tests.chaos.cutover.tables import MAPPING, SEED, TABLES
from tests.fixtures.ports import free_port
from tests.fixtures.rights import RIGHTS
from tests.fixtures.waiting import until

ROOT: Final = Path(__file__).parents[3]
WORD: Final = "tests only"
CAPABILITY: Final = "purchases"
SYNCS: Final = ("one sync run", "the other sync run")
"""One of them applies, the other stands by."""
ENGINES: Final = {"source": "the source", "target": "the target", "control": "the control database"}
# Who is killed and started again is there within seconds, and so is what its end of a connection held.
_QUICK: Final = {"fsync": "off", "full_page_writes": "off", "wal_sender_timeout": "5s"}
_ALWAYS: Final = {"track_commit_timestamp": "on"}
_NONE: Final[Mapping[str, str]] = {}


@dataclass
class Bed:
    """All of it. ``fault`` is what is planted in the toolkit's processes and the stacks, or nothing.

    What runs dies with the thread that has started it, so that is not the one of a trouble: the ``keeper`` stays.
    """

    folder: Path
    servers: Mapping[str, Postgres]
    valkey: Valkey
    keeper: ThreadPoolExecutor
    fault: str | None = None
    proxy_port: int = field(default_factory=free_port)
    admin_port: int = field(default_factory=free_port)
    stack_ports: Mapping[str, int] = field(default_factory=lambda: {"monolith": free_port(), "service": free_port()})
    children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    mending: threading.Lock = field(default_factory=threading.Lock)  # two troubles may befall one part at a time

    @property
    def file(self) -> Path:
        return self.folder / "strangler.toml"

    @property
    def acknowledgements(self) -> Path:
        return self.folder / "acknowledged"

    @property
    def requests(self) -> Path:
        return self.folder / "requests"

    @property
    def project(self) -> Project:
        return load(self.file)

    def url(self, side: str) -> str:
        """Return the URL of a stack's database for the application."""
        return self.servers["source" if side == "monolith" else "target"].url("shop", "owner", WORD)

    # --- made ---

    def furnish(self, seeds: int) -> None:
        """Make databases, roles, tables and the project's files, and bring these into force."""
        lines = [f"REDIS={self.valkey.url}", f"SECRET={secrets.token_hex(32)}"]
        for name, server in self.servers.items():
            with psycopg.connect(server.url(), autocommit=True) as connection:
                for role in ("owner", "sync"):
                    ensure_role(connection, role, WORD)
                ensure_database(connection, "shop", "owner")
            role = "owner" if name == "control" else "sync"
            lines.append(f"{name.upper()}={server.url('shop', role, WORD)}")
        for name, tables in TABLES.items():
            with psycopg.connect(self.url(name), autocommit=True) as connection:
                connection.execute(tables.schema.encode())
                if name == "monolith":
                    connection.execute(SEED.format(seeds).encode())
            server = self.servers["source" if name == "monolith" else "target"]
            with psycopg.connect(server.url("shop"), autocommit=True) as connection:
                connection.execute(sql.SQL(RIGHTS).format(base=sql.Identifier("shop")))
        self._write_project(lines)
        with Publisher.open(self.project) as publisher:
            publisher.enrol(self.project, who="tests", reason="first", wait_s=None)

    def _write_project(self, lines: Sequence[str]) -> None:
        capability = self.folder / "migrations" / CAPABILITY
        capability.mkdir(parents=True)
        (capability / "capability.toml").write_text(
            'service = "shop"\n[[route]]\npath = "/purchases"\n[[route]]\npath = "/accounts"\n'
        )
        (capability / "mapping.toml").write_text(MAPPING)
        (self.folder / "env").write_text("\n".join(lines))
        ports = self.stack_ports
        self.file.write_text(
            f'env_file = "env"\n[monolith]\nendpoints = ["http://127.0.0.1:{ports["monolith"]}"]\n'
            'database = "$SOURCE"\n[control]\ndatabase = "$CONTROL"\nredis = "$REDIS"\nsecret = "$SECRET"\n'
            f'[proxy]\nlisten = ["127.0.0.1:{self.proxy_port}"]\nadmin = "127.0.0.1:{self.admin_port}"\nworkers = 2\n'
            f'[service.shop]\nendpoints = ["http://127.0.0.1:{ports["service"]}"]\ndatabase = "$TARGET"\n'
        )

    def note_writes(self) -> None:
        """From here on each write of a row is noted on either side."""
        for name, tables in TABLES.items():
            with psycopg.connect(self.url(name), autocommit=True) as connection:
                connection.execute(tables.noting.encode())

    # --- what runs ---

    def strangler(self, *words: str) -> list[str]:
        """Return the command line of the toolkit, with the fault in it."""
        planted = ["tests.chaos.cutover.planted", self.fault] if self.fault else []
        return [sys.executable, "-m", *planted, "strangler", "--project", str(self.file), *words]

    def _stack(self, name: str) -> list[str]:
        planted = ["tests.chaos.cutover.planted", self.fault] if self.fault else []
        return [sys.executable, "-m", *planted, "tests.chaos.cutover.stack", name, str(self.stack_ports[name])]

    def run(self, name: str) -> None:
        """Start one of the processes, as a supervisor does."""
        celery = ["-m", "celery", "--app", "tests.chaos.cutover.tasks:celery_app", "worker", "--concurrency", "2"]
        commands = {
            **dict.fromkeys(SYNCS, self.strangler("sync", "run")),
            "the proxy": self.strangler("proxy"),
            "Celery": [sys.executable, *celery, "--queues", "chaos", "--without-gossip", "--without-mingle"],
            "the monolith": self._stack("monolith"),
            "the service": self._stack("service"),
        }
        said = json.dumps(self.url(name.removeprefix("the "))) if name in ("the monolith", "the service") else None
        self.children[name] = self.start(name, commands[name], said)

    def start(self, name: str, command: Sequence[str], said: str | None = None) -> subprocess.Popen[bytes]:
        """Start a process of a group of its own that writes to a log; ``said`` is the first line of its input."""
        tasks = {
            "broker": self.valkey.url,
            "log": str(self.acknowledgements),
            "databases": {side: self.url(side) for side in TABLES},
        }
        with self._log(name) as log:
            child = self.keeper.submit(
                subprocess.Popen,
                [*dies_with_parent("KILL"), *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), "CHAOS_TASKS": json.dumps(tasks)},
                start_new_session=True,
            ).result()
        assert child.stdin is not None
        if said is not None:
            child.stdin.write(said.encode() + b"\n")
            child.stdin.flush()
        return child

    def _log(self, name: str) -> IO[bytes]:
        return (self.folder / f"{name}.log").open("ab")

    def log_of(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def begin(self) -> None:
        """Start all that runs, and copy the tables."""
        for name in ("the monolith", "the service", *SYNCS, "the proxy", "Celery"):
            self.run(name)
        until(lambda: self._answers(self.admin_port, "/health/ready"), "the proxy is ready", 30)
        for port in self.stack_ports.values():
            until(lambda port=port: self._answers(port, "/health"), "a stack answers", 30)  # type: ignore[misc]
        self.must("sync", "start", CAPABILITY, "--reason", "chaos")
        self.must("sync", "backfill", CAPABILITY, "--inline")

    def _answers(self, port: int, path: str) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=1).is_success
        except httpx.HTTPError:
            return False

    def must(self, *words: str) -> str:
        for _ in range(3):
            done = self.say(*words)
            if done.returncode == 0:
                return done.stdout
        raise AssertionError(f"{words}: {done.stdout}{done.stderr}")

    def say(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.strangler(*words),
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def stop(self) -> None:
        """End all that runs here: whoever was stopped, too."""
        for name in self.children:
            self.end(name)

    # --- who dies ---

    def kill(self, *names: str) -> bool:
        """Kill processes with their children, and start them again."""
        with self.mending:
            for name in names:
                self.end(name)
            for name in names:
                self.run(name)
        return True

    def end(self, name: str) -> None:
        child = self.children[name]
        end_all(child, signal.SIGKILL)
        child.wait()
        assert child.stdin is not None
        with suppress(BrokenPipeError):
            child.stdin.close()

    def kill_engine(self, engine: Postgres | Valkey) -> bool:
        """Kill a server with all its processes, and start it again."""

        def starts() -> bool:
            with suppress(EngineError):
                self.keeper.submit(engine.start).result()
                return True
            return False

        with self.mending:
            assert engine.process is not None
            end_all(engine.process, signal.SIGKILL)
            engine.process.wait()
            until(starts, "a server starts again", 60)
        return True

    def proxy_workers(self) -> list[psutil.Process]:
        with suppress(psutil.Error):
            family = psutil.Process(self.children["the proxy"].pid).children(recursive=True)
            return [each for each in family if "strangler_proxy.worker" in each.cmdline()]
        return []

    # --- what is asked ---

    def ask(self, server: str, query: str, values: Sequence[Any] = ()) -> list[Any]:
        with psycopg.connect(self.servers[server].url("shop"), autocommit=True, connect_timeout=3) as connection:
            found = connection.execute(query.encode(), values)
            return found.fetchall() if found.description else []

    def answer(self, query: str) -> Any:
        """Return the first value of what the control database says, None where it does not answer."""
        with suppress(psycopg.OperationalError, IndexError):
            return self.ask("control", query)[0][0]
        return None


def end_all(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    """Send a signal to a process and to all that descend from it."""
    with suppress(psutil.NoSuchProcess):
        first = psutil.Process(process.pid)
        for each in (first, *first.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                each.send_signal(how)


@contextmanager
def made(
    *,
    seeds: int = 500,
    fault: str | None = None,
    durable: bool = False,
    noted: bool = True,
    settings: Mapping[str, str] = _NONE,
) -> Iterator[Bed]:
    """Run all of it, with the tables copied and nobody writing yet. ``durable`` has servers flush what they commit."""
    folder = Path(tempfile.mkdtemp(prefix="strangler-chaos-"))
    settings = {**_ALWAYS, **({} if durable else _QUICK), **settings}
    try:
        with ExitStack() as stack:
            keeper = stack.enter_context(ThreadPoolExecutor(1))
            servers = {
                name: stack.enter_context(Postgres(folder=folder / name, port=free_port(), settings=settings))
                for name in ENGINES
            }
            valkey = stack.enter_context(Valkey(folder=folder / "valkey", port=free_port()))
            bed = Bed(folder, servers, valkey, keeper, fault)
            stack.callback(bed.stop)
            bed.furnish(seeds)
            bed.begin()
            if noted:
                bed.note_writes()
            yield bed
    finally:
        shutil.rmtree(folder)
