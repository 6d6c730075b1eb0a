"""What runs behind the visitors' backs while the owner moves there and back: real workers on both sides, one broker."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
import redis
from celery import Celery, chain
from psycopg.conninfo import conninfo_to_dict

from strangler.capability import Stack
from strangler.project import Project
from tests.fixtures.books import Shop, begin
from tests.fixtures.command import Run, printed_json
from tests.fixtures.guestbook import FOLDER, PYTHON, environment
from tests.fixtures.ledger import ScriptedWorker
from tests.fixtures.moving import UNSEEN
from tests.fixtures.streams import Paired, table
from tests.fixtures.waiting import until

WHY: Final = ("--reason", "trying")
TABLES: Final = """
create table entry (id uuid primary key, note text not null);
create table job (id varchar(255) primary key, name varchar(255) not null, done_at timestamptz not null, result text);
"""
COLUMNS: Final = {"entry": ("note",), "job": ("name", "done_at", "result")}
MAPPING: Final = "".join(
    f'[[table]]\nsource = "{name}"\ntarget = "{name}"\nkey = {{ id = "id" }}\n'
    + "".join(
        f"[table.{way}]\n" + "".join(f'{each} = "{each}"\n' for each in columns) for way in ("forward", "reverse")
    )
    for name, columns in COLUMNS.items()
)
PREFIX: Final = "work:"
PATIENCE_S: Final = 60.0  # a worker takes two seconds to start, and twenty where six others start


@dataclass
class Sides:
    """A capability with work in the background, on both sides."""

    shop: Shop
    broker: str
    folder: Path
    exits: ExitStack
    sent: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.client = Celery("client", broker=self.broker, set_as_current=False)
        self.client.conf.update(broker_transport_options={"global_keyprefix": PREFIX}, task_ignore_result=True)

    def url(self, side: Stack) -> str:
        forward = self.shop.pair.forward
        return forward.source_url if side is Stack.MONOLITH else forward.target_url

    def environment(self, side: Stack) -> dict[str, str]:
        return {
            **environment(self.url(side), "guestbook.background.settings"),
            "GUESTBOOK_SIDE": str(side),
            "GUESTBOOK_BROKER": self.broker,
        }

    def worker(self, side: Stack, queue: str, **more: str) -> subprocess.Popen[bytes]:
        """Start a worker; it is ended with the test."""
        words = ["-m", "celery", "--app", "guestbook.background.celery", "worker", "--queues", queue]
        words += ["--hostname", f"{queue}{len(more)}@here", "--concurrency", "4", "--loglevel", "INFO"]
        words += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        log = self.exits.enter_context((self.folder / f"{queue}.log").open("ab"))
        process = subprocess.Popen(
            [PYTHON, *words],
            cwd=FOLDER,
            env={**self.environment(side), **more},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        self.exits.callback(_end, process)
        return process

    def send(self, queue: str, name: str, note: str, **options: Any) -> None:
        self.sent.append(note)
        self.client.send_task(f"guestbook.{name}", [note], queue=queue, **options)

    def written(self, side: Stack) -> Counter[str]:
        rows = self.shop.pair.source if side is Stack.MONOLITH else self.shop.pair.target
        return Counter(note for (note,) in rows("select note from entry"))

    def all_are_written(self, side: Stack) -> None:
        """Wait until every task that was sent has taken effect, and nothing is left of any; each did so once."""
        wanted = Counter(self.sent)

        def settled() -> bool:
            written = self.written(side)
            assert not written - wanted, f"took effect more than once: {written - wanted}"
            return written == wanted and not self.left()

        try:
            until(settled, "every task has taken effect", PATIENCE_S)
        except AssertionError as exc:
            missing = sorted((wanted - self.written(side)).elements())
            raise AssertionError(f"{exc}; missing are {missing}, the broker holds {self.left()}") from None

    def left(self) -> dict[str, int]:
        """Return what the broker still holds of tasks."""
        with redis.Redis.from_url(self.broker, decode_responses=True) as broker:
            queues = {name: broker.llen(f"{PREFIX}{name}") for name in ("monolith", "service", "dying")}
            return {
                name: number
                for name, number in {**queues, "unacked": broker.hlen(f"{PREFIX}unacked")}.items()
                if number
            }

    @contextmanager
    def halted(self, side: Stack) -> Iterator[None]:
        """Keep tasks half-way that halt."""
        with psycopg.connect(self.url(side), autocommit=True) as holding:
            holding.execute("select pg_advisory_lock(1)")
            yield

    def halting(self, side: Stack) -> int:
        [[found]] = self.shop.pair.source(
            "select count(*) from pg_locks where locktype = 'advisory' and objid = 1 and not granted"
            " and database = (select oid from pg_database where datname = '{}')".format(
                conninfo_to_dict(self.url(side))["dbname"]
            )
        )
        return int(found)


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture
def sides(
    pair: Paired, ledger_project: Project, valkey_url: str, tmp_path: Path, command: Callable[[Path], Run]
) -> Iterator[Sides]:
    mappings = [
        table(name, name, {"id": "id"}, {each: each for each in columns}, reverse={each: each for each in columns})
        for name, columns in COLUMNS.items()
    ]
    ends = pair(TABLES, TABLES, *mappings, begin=False, capability="books")
    shop = begin(ends, MAPPING, ledger_project, tmp_path, command)
    with ExitStack() as exits:
        yield Sides(shop, valkey_url, tmp_path, exits)


@contextmanager
def in_shadow(shop: Shop) -> Iterator[None]:
    assert shop("start")[0] == 0
    with shop.running():
        assert shop("backfill", "--inline")[0] == 0
        yield


def test_every_task_takes_effect_once_while_the_owner_moves_there_and_back(sides: Sides) -> None:
    monolith, service = Stack.MONOLITH, Stack.SERVICE
    sides.worker(monolith, "monolith")
    sides.worker(service, "service")
    dying = sides.worker(monolith, "dying", GUESTBOOK_DIES="1")
    with ScriptedWorker(sides.shop.project, "one"), in_shadow(sides.shop):
        with sides.halted(monolith):
            sides.send("dying", "halt", "died half-way")
            until(lambda: sides.halting(monolith) == 1, "one is half-way", PATIENCE_S)
            sides.send("dying", "write", "died after its commit")
            dying.wait(PATIENCE_S)
            before = sides.halting(monolith)  # a session whose client is gone waits on for the lock
            for name in ("halt", "careless", "command"):
                sides.send("monolith", name, f"{name} half-way")
            until(lambda: sides.halting(monolith) == before + 3, "three are half-way", PATIENCE_S)
            for number in range(10):
                sides.send("monolith", "write", f"delayed {number}", countdown=4)
                sides.send("monolith", "write", f"queued {number}")
            moved(sides, "cutover")
            sides.send("monolith", "steps", "in steps")
        sides.worker(monolith, "dying")  # is given what the one that died has not acknowledged
        chained(sides, "monolith")
        sides.all_are_written(service)

        with sides.halted(service):
            sides.send("service", "halt", "half-way back")
            until(lambda: sides.halting(service) == 1, "one is half-way", PATIENCE_S)
            sides.send("service", "write", "delayed back", countdown=4)
            moved(sides, "rollback")
        chained(sides, "service")
        sides.all_are_written(monolith)


def moved(sides: Sides, verb: str) -> None:
    """Move the owner while somebody goes on sending tasks to both sides, some of them twice."""
    over = threading.Event()

    def sending() -> None:
        number = 0
        while not over.wait(0.02):
            number += 1
            note = f"during {verb} {number}"
            sides.send(str(list(Stack)[number % 2]), "write", note, task_id=note)
            if number % 5 == 0:  # as two beats do, and whoever dies between sending on and acknowledging
                sides.send(str(list(Stack)[number % 3 % 2]), "write", note, task_id=note)
                sides.sent.pop()

    thread = threading.Thread(target=sending)
    thread.start()
    try:
        assert printed_json(sides.shop.say(verb, "books", *WHY, *UNSEEN[verb], "--json"))["end"] == "moved"
    finally:
        over.set()
        thread.join(20)


def chained(sides: Sides, queue: str) -> None:
    """Send a task that is followed by another, which wants its result."""
    first = sides.client.signature("guestbook.write", [f"first at the {queue}"], queue=queue)
    then = sides.client.signature("guestbook.follow", ["second"], queue=queue)
    chain(first, then).apply_async()
    sides.sent += [f"first at the {queue}", f"second after first at the {queue}"]
