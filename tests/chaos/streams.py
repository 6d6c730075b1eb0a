"""Two databases kept equal by ``sync run`` under load, while one part after the other is killed with SIGKILL."""

from __future__ import annotations

import itertools
import os
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

import psycopg
from psycopg import sql

from strangler.ledger import Publisher
from strangler.local import EngineError, Postgres, Valkey, ensure_database, ensure_role
from strangler.project import load
from tests.fixtures.ports import free_port
from tests.fixtures.postgres import kill
from tests.fixtures.rights import RIGHTS
from tests.fixtures.waiting import until

ROWS: Final = 20_000
KEYS: Final = 24_000
CHUNK_ROWS: Final = 500
VICTIMS: Final = (
    "the applier", "the standby", "a Celery worker", "Valkey", "the source's PostgreSQL", "the target's PostgreSQL",
    "the control database",
)  # fmt: skip
_SOURCE: Final = """
create table book (id bigint primary key, title text unique, price numeric(10, 2), body text, version bigint not null);
alter table book alter column body set storage external;
insert into book select n, 'Book ' || n, n / 7.0, repeat('b', n % 40 * 100), -n from generate_series(1, %s) n;
"""
# Every value of `version` is written once: a trigger that sees one twice has seen a change that was applied twice.
_TARGET: Final = """
create table volume (id bigint primary key, title text unique, cents bigint, body text, version bigint not null);
create table seen (id bigint, version bigint);
create function see() returns trigger language plpgsql security definer as
  'begin insert into public.seen values (new.id, new.version); return null; end';
create trigger see after insert or update on volume for each row execute function see();
alter table volume disable trigger see;
"""
_MAPPING: Final = """
[[table]]
source = "book"
target = "volume"
key = { id = "id" }
[table.forward]
title = "title"
cents = "(price * 100)::bigint"
body = "body"
version = "version"
[table.reverse]
title = "title"
price = "(cents / 100.0)::numeric(10, 2)"
body = "body"
version = "version"
"""
HEADER: Final = (
    "| killed | times | goes on after, median | at most | rows written | applied twice | verify |\n"
    "|---|---|---|---|---|---|---|"
)
_SETTINGS: Final = {"fsync": "off", "full_page_writes": "off"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the kills of one part did; seconds from the kill until changes arrive again."""

    victim: str
    seconds: Sequence[float]
    written: int
    twice: int
    equal: bool

    @property
    def row(self) -> str:
        verdict = "equal" if self.equal else "**different**"
        return (
            f"| {self.victim} | {len(self.seconds)} | {median(self.seconds):.1f} s | {max(self.seconds):.1f} s"
            f" | {self.written:,} | {self.twice} | {verdict} |"
        )


@dataclass
class Bed:
    """The engines, the toolkit's processes, and who writes."""

    folder: Path
    source: Postgres
    target: Postgres
    control: Postgres
    valkey: Valkey
    seed: int = 0
    children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    writing: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    written: int = 0
    _versions: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def file(self) -> Path:
        return self.folder / "strangler.toml"

    # --- what runs ---

    def furnish(self) -> None:
        """Make databases, roles, tables and the project's files, and bring these into force."""
        ends = {"SOURCE": (self.source, _SOURCE.replace("%s", str(ROWS))), "TARGET": (self.target, _TARGET)}
        lines = [f"REDIS={self.valkey.url}", f"SECRET={secrets.token_hex(32)}"]
        for name, (server, script) in {**ends, "CONTROL": (self.control, "")}.items():
            with psycopg.connect(server.url(), autocommit=True) as connection:
                for role in ("owner", "sync"):
                    ensure_role(connection, role, "tests only")
                ensure_database(connection, "books", "owner")
            with psycopg.connect(server.url("books", "owner", "tests only"), autocommit=True) as connection:
                for statement in filter(None, (each.strip() for each in _statements(script))):
                    connection.execute(statement.encode())
            role = "owner" if name == "CONTROL" else "sync"
            if role == "sync":
                with psycopg.connect(server.url("books"), autocommit=True) as connection:
                    connection.execute(sql.SQL(RIGHTS).format(base=sql.Identifier("books")))
            lines.append(f"{name}={server.url('books', role, 'tests only')}")
        books = self.folder / "migrations" / "books"
        books.mkdir(parents=True)
        (books / "capability.toml").write_text('service = "books"\n[[route]]\npath = "/books"\n')
        (books / "mapping.toml").write_text(_MAPPING)
        (self.folder / "env").write_text("\n".join(lines))
        self.file.write_text(
            'env_file = "env"\n[monolith]\nendpoints = ["http://127.0.0.1:1"]\ndatabase = "$SOURCE"\n'
            '[control]\ndatabase = "$CONTROL"\nredis = "$REDIS"\nsecret = "$SECRET"\n'
            '[service.books]\nendpoints = ["http://127.0.0.1:2"]\ndatabase = "$TARGET"\n'
        )
        project = load(self.file)
        with Publisher.open(project) as publisher:
            publisher.enrol(project, who="tests", reason="first")

    def run(self, name: str) -> None:
        """Start one of the toolkit's processes."""
        celery = ["-m", "celery", "--app", "strangler.jobs:celery_app", "worker", "--concurrency", "1"]
        words = celery if name == "a Celery worker" else ["-m", "strangler", "--project", str(self.file), "sync", "run"]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.children[name] = subprocess.Popen(
                [sys.executable, *words],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                # One that is killed leaves a folder of multiprocessing's where temporary files go.
                env={**os.environ, "STRANGLER_PROJECT": str(self.file), "TMPDIR": str(self.folder)},
                start_new_session=True,
            )

    def say(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "strangler", "--project", str(self.file), *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )

    def stop(self) -> None:
        self.over.set()
        for child in self.children.values():
            with suppress(ProcessLookupError):
                os.killpg(child.pid, 9)
            child.wait()

    # --- who writes ---

    def write(self, mine: int) -> None:
        """Change rows of one's own at random, and go on after every death of the source."""
        draw, url = random.Random(self.seed * 10 + mine), self.source.url("books", "owner", "tests only")
        while not self.over.is_set():
            with suppress(psycopg.OperationalError), psycopg.connect(url, autocommit=True) as connection:
                while not self.over.wait(0.004):
                    if self.writing.is_set():
                        self._transaction(connection, draw, mine)
            self.over.wait(0.05)

    def _transaction(self, connection: psycopg.Connection, draw: random.Random, mine: int) -> None:
        changed = draw.randint(1, 6)
        with connection.transaction(force_rollback=draw.random() < 0.05):
            for _ in range(changed):
                connection.execute(*self._change(draw, 2 * draw.randint(1, KEYS // 2) + mine, mine))
        self.written += changed

    def _change(self, draw: random.Random, key: int, mine: int) -> tuple[str, list[Any]]:
        version = next(self._versions)
        match draw.randint(0, 4):
            case 0:
                return "delete from book where id = %s", [key]
            case 1:
                long = "update book set body = repeat('c', %s), version = %s where id = %s"
                return long, [draw.randint(0, 5_000), version, key]
            case 2:
                free = "not exists (select from book where id = %s)"
                moved = f"update book set id = %s, version = %s where id = %s and {free}"
                other = 2 * draw.randint(1, KEYS // 2) + mine
                return moved, [other, version, key, other]
            case 3:
                return "update book set price = price + 1, version = %s where id = %s", [version, key]
            case _:
                made = "insert into book values (%s, %s, %s, repeat('d', %s), %s) on conflict do nothing"
                return made, [key, f"Book {key} of {version}", draw.randint(1, 999), draw.randint(0, 4_000), version]

    # --- what is asked ---

    def ask(self, server: Postgres, query: str) -> list[Any]:
        with psycopg.connect(server.url("books"), autocommit=True, connect_timeout=3) as connection:
            found = connection.execute(query.encode())
            return found.fetchall() if found.description else []

    def twice(self) -> int:
        """Return how many changes the target's trigger has seen more than once."""
        return len(self.ask(self.target, "select id, version from seen group by id, version having count(*) > 1"))

    def answers(self, server: Postgres, query: str) -> Any:
        """Return the first value, None where the server does not answer."""
        with suppress(psycopg.OperationalError, IndexError):
            return self.ask(server, query)[0][0]
        return None

    def heard_since(self, at: float) -> bool:
        """Whether a heartbeat that was written after ``at`` (Unix seconds) has come."""
        beat = "select extract(epoch from heartbeat_at)::float8 from strangler_sync.stream where name ~ 'forward'"
        heard = self.answers(self.target, beat)
        return heard is not None and heard > at

    def applied_since(self, at: float) -> bool:
        """Whether the watermark was set after ``at`` (Unix seconds)."""
        query = "select extract(epoch from applied_at)::float8 from strangler_sync.stream where name ~ 'forward'"
        found = self.answers(self.target, query)
        return found is not None and found > at

    def copied(self) -> int | None:
        """Return how many chunks of the copy that is under way are done."""
        query = (
            "select count(done_at) from strangler.backfill_chunk join strangler.backfill_run on id = run"
            " where finished_at is null and abandoned_at is null having count(*) > count(done_at)"
        )
        found = self.answers(self.control, query)
        return None if found is None else int(found)

    @property
    def stage(self) -> str | None:
        found = self.answers(self.control, "select state->>'stage' from strangler.capability")
        return None if found is None else str(found)


def _statements(script: str) -> list[str]:
    head, _, body = script.partition("create function")
    function, _, tail = body.partition("end';")
    return [*head.split(";"), f"create function{function}end'" if function else "", *tail.split(";")]


@contextmanager
def made(seed: int) -> Iterator[Bed]:
    """Run all of it, with two writers that do not write yet."""
    folder = Path(tempfile.mkdtemp(prefix="strangler-streams-"))
    try:
        with ExitStack() as stack:
            engines = [
                stack.enter_context(Postgres(folder=folder / name, port=free_port(), settings=_SETTINGS))
                for name in ("source", "target", "control")
            ]
            valkey = stack.enter_context(Valkey(folder=folder / "valkey", port=free_port()))
            bed = Bed(folder, engines[0], engines[1], engines[2], valkey, seed=seed)
            stack.callback(bed.stop)
            bed.furnish()
            writers = [threading.Thread(target=bed.write, args=(mine,)) for mine in range(2)]
            for writer in writers:
                writer.start()
                stack.callback(writer.join)
            stack.callback(bed.over.set)
            for name in ("the applier", "the standby", "a Celery worker"):
                bed.run(name)
            yield bed
    finally:
        shutil.rmtree(folder)


def kills(bed: Bed, victim: str, rounds: int) -> Result:
    """Kill one part ``rounds`` times under load, every other time while a copy is made; compare both sides then."""
    before, seconds, twice = bed.written, list[float](), 0
    bed.writing.set()
    for number in range(rounds):
        copying = number % 2 == 0 or victim == "a Celery worker"
        copier = _begin_copy(bed) if copying or bed.stage != "shadow" else None
        if not copying and copier is not None:
            copier.join()
            copier = None
        if copier is None:
            _watch(bed)
        seconds.append(_kill(bed, victim, copying=copier is not None))
        if copier is not None:
            copier.join()
            until(lambda: bed.stage == "shadow", "the copy has ended", 10)
        else:
            until(lambda: bed.heard_since(time.time() - 1), "it follows", 30)
            twice += bed.twice()
            bed.ask(bed.target, "alter table volume disable trigger see")
    bed.writing.clear()
    at = time.time() + 0.5
    until(lambda: bed.heard_since(at), "all has come", 60)
    verdict = bed.say("sync", "verify", "books")
    if verdict.returncode:
        print(verdict.stdout, verdict.stderr, file=sys.stderr)
    return Result(
        victim=victim, seconds=seconds, written=bed.written - before, twice=twice, equal=verdict.returncode == 0
    )


def _watch(bed: Bed) -> None:
    bed.ask(bed.target, "truncate seen")
    bed.ask(bed.target, "alter table volume enable always trigger see")


def _begin_copy(bed: Bed) -> threading.Thread:
    """Begin the sync anew, and copy for as often as it takes; return once it is under way."""
    _must(bed, "sync", "remove", "books", "--reason", "anew")
    _must(bed, "sync", "start", "books", "--replace", "--reason", "anew")

    def copy() -> None:
        for _ in range(20):
            if bed.say("sync", "backfill", "books", "--chunk-rows", str(CHUNK_ROWS)).returncode == 0:
                return

    copier = threading.Thread(target=copy)
    copier.start()
    until(lambda: (bed.copied() or 0) > 0 or not copier.is_alive(), "the copy is under way", 60)
    return copier


def _must(bed: Bed, *words: str) -> None:
    done = subprocess.CompletedProcess[str]([], 1, "", "")
    for _ in range(5):
        done = bed.say(*words)
        if done.returncode == 0:
            return
    raise AssertionError(f"{words}: {done.stdout}{done.stderr}")


def _kill(bed: Bed, victim: str, *, copying: bool) -> float:
    """Kill one part and bring it back, as a supervisor would; return after how long changes come again."""
    done = bed.copied() if victim == "a Celery worker" and copying else None
    _holder(bed)
    at = time.time()
    _engine(bed, victim) if victim in _ENGINES else _child(bed, victim)
    if done is None:
        until(lambda: bed.applied_since(at + 0.01), f"changes come again after the death of {victim}", 60)
    else:
        until(lambda: (bed.copied() or ROWS) > done, "chunks are copied again", 60)
    return time.time() - at


def _holder(bed: Bed) -> None:
    """Have the names of the two that apply tell which of them does: the standby is the one that says so last."""
    logs = {name: (bed.folder / f"{name}.log").read_text() for name in ("the applier", "the standby")}
    standing = [name for name, text in logs.items() if text.rstrip().endswith("this one stands by")]
    if standing == ["the applier"]:
        names = ("the applier", "the standby")
        children = [bed.children[name] for name in names]
        bed.children |= dict(zip(names, reversed(children), strict=True))
        files = [bed.folder / f"{name}.log" for name in names]
        swapped = bed.folder / "swapped.log"
        files[0].rename(swapped)
        files[1].rename(files[0])
        swapped.rename(files[1])


def _child(bed: Bed, victim: str) -> None:
    child = bed.children[victim]
    os.killpg(child.pid, 9)
    child.wait()
    bed.run(victim)


_ENGINES: Final[dict[str, Callable[[Bed], Postgres | Valkey]]] = {
    "Valkey": lambda bed: bed.valkey,
    "the source's PostgreSQL": lambda bed: bed.source,
    "the target's PostgreSQL": lambda bed: bed.target,
    "the control database": lambda bed: bed.control,
}


def _engine(bed: Bed, victim: str) -> None:
    engine = _ENGINES[victim](bed)
    kill(engine)

    def starts() -> bool:
        with suppress(EngineError):
            engine.start()
            return True
        return False

    until(starts, f"{victim} starts again", 60)


def matrix(rounds: int, victims: Sequence[str] = VICTIMS, seed: int = 1) -> Iterator[Result]:
    """Yield what the kills of each part did."""
    with made(seed) as bed:
        for victim in victims:
            yield kills(bed, victim, rounds)
