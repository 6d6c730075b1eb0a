"""A server of the two fails over to its standby, or is upgraded, and somebody types what the page says."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Final

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from strangler.local import Postgres, unprivileged
from strangler.project import Project
from tests.fixtures.books import ALL, Shop, stocked
from tests.fixtures.command import Run
from tests.fixtures.moving import ADD, WHY, in_shadow, owners, same, write
from tests.fixtures.ports import free_port
from tests.fixtures.postgres import HASTY, MakeDatabase, Postgres15, making, running
from tests.fixtures.runbook import Section, Typed, every, runs
from tests.fixtures.streams import pairing
from tests.fixtures.waiting import until

pytestmark = pytest.mark.slow
PAGE: Final = "failover"
CLAIMED: Final[set[Section]] = set()
MONOLITH_OWNS: Final = (PAGE, "The monolith's server fails over, while the monolith owns")
SERVICE_OWNS: Final = (PAGE, "The monolith's server fails over, while the service owns")
SERVICE_MOVES: Final = (PAGE, "The service's server fails over")
BEFORE: Final = (PAGE, "Before a major upgrade")
AFTER: Final = (PAGE, "After it")
Make = Callable[[str, Postgres], Shop]


@pytest.fixture
def typed(request: pytest.FixtureRequest) -> Iterator[Typed]:
    """A person at a terminal, who is to type every command of the sections that the test has claimed."""
    found = Typed(request.param)
    yield found
    assert found.left == []


class Next(Postgres):
    """A cluster that one of PostgreSQL 15 can be upgraded to: that had no checksums."""

    def _collation(self) -> tuple[str, ...]:
        return ("--no-data-checksums",)

    def make(self) -> None:
        self._initialise(unprivileged(self.folder))


@contextmanager
def beside(server: Postgres, kind: type[Postgres], settings: Mapping[str, str] = HASTY) -> Iterator[Postgres]:
    """Yield a cluster in a folder of its own that is to take the place of a server, with the same administrator."""
    folder = server.folder.with_name(f"{server.folder.name}-{kind.__name__}")
    folder.mkdir(mode=0o700)
    taking = kind(folder=folder, port=free_port(), settings=settings)
    try:
        yield taking
    finally:
        taking.stop()
        shutil.rmtree(folder)


@contextmanager
def between(
    moved: str, server: Postgres, other: tuple[Postgres, MakeDatabase], make: Callable[..., Shop]
) -> Iterator[Shop]:
    """Have a shop of which one stack's database, the one ``moved`` names, is on a server of its own."""
    with making(server) as make_database:
        ends = [(server, make_database), other]
        with pairing(*(ends if moved == "monolith" else reversed(ends))) as pair:
            yield make(pair)


@pytest.fixture
def make_shop(ledger_project: Project, tmp_path: Path, command: Callable[[Path], Run]) -> Callable[..., Shop]:
    return lambda pair: stocked(pair, ledger_project, tmp_path, command)


def copied(server: Postgres, standby: Postgres, *more: str) -> None:
    """Make a physical standby, and have it follow; ``more`` is for pg_basebackup."""
    shutil.copy(server.folder / "superuser.password", standby.folder)
    data = str(standby.folder / "data")
    command = [server.program("pg_basebackup"), "-D", data, "-R", "-d", server.url(), "--checkpoint=fast", "--no-sync"]
    subprocess.run([*unprivileged(standby.folder), *command, *more], check=True)
    standby.start()


@contextmanager
def following(server: Postgres) -> Iterator[Postgres]:
    """Yield a standby of a server; slots are not kept by it."""
    with beside(server, Postgres) as standby:
        copied(server, standby)
        yield standby


@contextmanager
def keeping_slots(server: Postgres) -> Iterator[Postgres]:
    """Yield a standby of a server that keeps the slots, too, as the page has it."""
    with beside(server, Postgres, {**HASTY, "sync_replication_slots": "on", "hot_standby_feedback": "on"}) as standby:
        copied(server, standby, "-C", "-S", "standby")
        yield standby


@contextmanager
def followed(
    moved: str,
    other: tuple[Postgres, MakeDatabase],
    make: Callable[..., Shop],
    standing: Callable[[Postgres], AbstractContextManager[Postgres]] = following,
) -> Iterator[tuple[Postgres, Postgres, Shop]]:
    """Yield a server, its standby, and a shop that has the database of the stack ``moved`` on that server."""
    with running(Postgres) as server, standing(server) as standby, between(moved, server, other, make) as shop:
        yield server, standby, shop


def has(server: Postgres, position: str) -> bool:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        [(done,)] = connection.execute("select pg_last_wal_replay_lsn() >= %s::pg_lsn", [position])
    return bool(done)


def fail_over(server: Postgres, standby: Postgres) -> None:
    """End a server, and have its standby answer at its address."""
    with psycopg.connect(server.url()) as connection:
        [(position,)] = connection.execute("select pg_current_wal_lsn()::text")
    until(lambda: has(standby, position), "the standby has all of it")
    server.stop()
    take_over(server, standby)


def take_over(server: Postgres, standby: Postgres) -> None:
    """Have a standby be the server that was ended, with what it has."""
    standby.stop()
    standby.port = server.port
    standby.start()
    with psycopg.connect(standby.url(), autocommit=True) as connection:
        connection.execute("select pg_promote()")


def words(shop: Shop) -> str:
    """Return what is said of the streams, in one line."""
    return " ".join(shop.say("sync", "status")[1].split())


def go_on(shop: Shop, typed: Typed, section: Section) -> None:
    """Type the commands of a section, of which each ends well."""
    for command in typed.of(*section):
        said = typed(shop, f"{command} --inline" if " backfill " in command else command)
        typed.said.add(command)
        assert said[0] == 0, (command, said)


def test_every_section_with_commands_is_tried() -> None:
    assert set(every(PAGE)) == CLAIMED


@pytest.mark.parametrize("moved", ["monolith", "service"])
@runs(CLAIMED, MONOLITH_OWNS)
def test_the_copy_is_made_anew_on_whichever_side_it_was(
    postgres: Postgres, make_database: MakeDatabase, make_shop: Callable[..., Shop], typed: Typed, moved: str
) -> None:
    with followed(moved, (postgres, make_database), make_shop) as (server, standby, shop):
        with in_shadow(shop):
            shop.pair.source(ADD.format(600, 600))
            same(shop, ALL)
        fail_over(server, standby)
        with shop.running() as told:
            until(lambda: any("the server was promoted or restored since" in each for each in told), "it is seen")
            assert owners(shop) == ["monolith"]
            shop.pair.source(ADD.format(601, 601))
            go_on(shop, typed, MONOLITH_OWNS)
            same(shop, ALL)
        assert (shop.stage, shop.state["killed"]) == ("shadow", None)


@runs(CLAIMED, SERVICE_OWNS)
def test_what_the_service_writes_goes_on_to_the_monolith_and_a_kill_loses_nothing(
    postgres: Postgres, make_database: MakeDatabase, make_shop: Callable[..., Shop], typed: Typed
) -> None:
    with followed("monolith", (postgres, make_database), make_shop) as (server, standby, shop):
        with in_shadow(shop):
            said = shop.say("cutover", "books", *WHY)
            assert said[0] == 0, said
            write(shop, 600)
            same(shop, ALL)
        fail_over(server, standby)
        with shop.running() as told:
            until(lambda: any("the server was promoted or restored since" in each for each in told), "it is seen")
            assert owners(shop) == ["service"]
            write(shop, 601)
            same(shop, ALL)
            assert shop.say("rollback", "books", *WHY)[0] == 1
            go_on(shop, typed, SERVICE_OWNS)
            assert owners(shop) == ["monolith"]
            same(shop, ALL)
        assert shop.pair.source("select id from book where id >= 600 order by id") == [(600,), (601,)]


def keeps(server: Postgres, standby: Postgres, position: str) -> bool:
    """Return whether a standby has its server's slot, as far as that, for whenever it is promoted."""
    # Left alone, a server says every 15 s what runs, by which its slots move on, and a standby looks every 30 s.
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("select pg_log_standby_snapshot()")
    query = "select count(*) from pg_replication_slots where synced and not temporary and confirmed_flush_lsn >= %s"
    with psycopg.connect(standby.url(), autocommit=True) as connection:
        connection.execute("select pg_reload_conf()")
        return connection.execute(query, [position]).fetchone() == (1,)


@pytest.mark.parametrize("owner", ["monolith", "service"])
@pytest.mark.parametrize("moved", ["monolith", "service"])
def test_streams_go_on_from_a_standby_that_keeps_their_slots(
    postgres: Postgres, make_database: MakeDatabase, make_shop: Callable[..., Shop], moved: str, owner: str
) -> None:
    with followed(moved, (postgres, make_database), make_shop, keeping_slots) as (server, standby, shop):
        there_and_back = [("cutover", "service"), ("rollback", "monolith")] * 2
        with in_shadow(shop):
            if owner == "service":
                move(shop, *there_and_back.pop(0))
            write(shop, 600)
            same(shop, ALL)
            until(lambda: keeps(server, standby, stands(server)), "the standby keeps the slot", 60)
        fail_over(server, standby)
        with shop.running() as told:
            for number, (verb, to) in enumerate(there_and_back[:2]):
                write(shop, 601 + number)
                move(shop, verb, to)
            same(shop, ALL)
        assert not any("promoted" in each for each in told), told
        assert shop.pair.source("select count(*) from book where id >= 600") == [(3,)]


def stands(server: Postgres) -> str:
    with psycopg.connect(server.url()) as connection:
        [(position,)] = connection.execute("select confirmed_flush_lsn::text from pg_replication_slots where failover")
    return str(position)


def move(shop: Shop, verb: str, to: str) -> None:
    until(lambda: shop.say(verb, "books", *WHY)[0] == 0, f"{verb} is let", 20)
    assert owners(shop) == [to]


def test_a_standby_that_lacks_what_was_applied_stops_the_stream(
    postgres: Postgres, make_database: MakeDatabase, make_shop: Callable[..., Shop]
) -> None:
    with followed("monolith", (postgres, make_database), make_shop, keeping_slots) as (server, standby, shop):
        with in_shadow(shop):
            write(shop, 600)
            same(shop, ALL)
            until(lambda: keeps(server, standby, stands(server)), "the standby keeps the slot", 60)
            standby.stop()
            write(shop, 601)
            same(shop, ALL)
        server.stop()
        take_over(server, standby)
        with shop.running() as told:
            until(lambda: any("and lacks what was applied from" in each for each in told), "it is seen")
            assert shop.pair.target("select count(*) from book where id = 601") == [(1,)]


def test_without_its_history_a_server_fills_the_tables_only_where_its_rows_count_all_the_same(
    postgres: Postgres, make_database: MakeDatabase, make_shop: Callable[..., Shop]
) -> None:
    with followed("monolith", (postgres, make_database), make_shop) as (server, standby, shop):
        with in_shadow(shop):
            write(shop, 600)
            same(shop, ALL)
        fail_over(server, standby)
        history = standby.folder / "data" / "pg_wal" / "00000002.history"
        until(history.exists, "the standby has been promoted")
        history.unlink()
        unknown = "whether it has what was applied cannot be told"
        with shop.running() as told:
            until(lambda: any(unknown in each for each in told), "it is seen")
            code, out, err = shop.say("sync", "refill", "books", *WHY)
            assert (code, unknown in " ".join(err.split())) == (2, True), (out, err)
            shop.pair.source(ADD.format(601, 601))
            said = shop.say("sync", "refill", "books", "--accept-loss", *WHY)
            assert said[0] == 0, said
            same(shop, ALL)


@runs(CLAIMED, SERVICE_MOVES)
def test_what_the_service_has_comes_to_the_monolith_while_it_goes_on_as_the_owner(
    postgres: Postgres, make_database: MakeDatabase, make_shop: Callable[..., Shop], typed: Typed
) -> None:
    with followed("service", (postgres, make_database), make_shop) as (server, standby, shop):
        with in_shadow(shop):
            assert shop.say("cutover", "books", *WHY)[0] == 0
            write(shop, 600)
            same(shop, ALL)
        fail_over(server, standby)
        with shop.running() as told:
            until(lambda: any("the server was promoted or restored since" in each for each in told), "it is seen")
            assert owners(shop) == ["service"]
            write(shop, 601)
            assert shop.say("rollback", "books", *WHY)[0] == 1
            go_on(shop, typed, SERVICE_MOVES)
            assert owners(shop) == ["service"]
            write(shop, 602)
            same(shop, ALL)
            assert shop.say("rollback", "books", *WHY)[0] == 0
            same(shop, ALL)
        assert shop.pair.source("select id from book where id >= 600 order by id") == [(600,), (601,), (602,)]


@pytest.mark.skipif(not Postgres15.PROGRAMS.exists(), reason="PostgreSQL 15 is not installed")
@pytest.mark.parametrize("is_prepared", [True, False])
@runs(CLAIMED, BEFORE, AFTER)
def test_a_cluster_is_upgraded_from_15_to_18(
    postgres: Postgres, make_database: MakeDatabase, make_shop: Callable[..., Shop], typed: Typed, is_prepared: bool
) -> None:
    with ExitStack() as there:
        server = there.enter_context(running(Postgres15))
        taking = there.enter_context(beside(server, Next))
        shop = there.enter_context(between("monolith", server, (postgres, make_database), make_shop))
        with in_shadow(shop):
            shop.pair.source(ADD.format(600, 600))
            same(shop, ALL)
            if is_prepared:
                go_on(shop, typed, BEFORE)
        upgrade(server, taking, str(conninfo_to_dict(shop.pair.forward.source_url)["dbname"]))
        with shop.running() as told:
            if not is_prepared:
                until(lambda: any("was begun on another server" in each for each in told), "it is seen")
                go_on(shop, typed, BEFORE)
            shop.pair.source(ADD.format(601, 601))
            go_on(shop, typed, AFTER)
            same(shop, ALL)
        assert shop.pair.target("select id from book where id >= 600 order by id") == [(600,), (601,)]


def upgrade(server: Postgres, taking: Postgres, database: str) -> None:
    """End a server, have ``pg_upgrade`` take its databases over, and start what it made at its address."""
    assert isinstance(taking, Next)
    with psycopg.connect(server.url(database), autocommit=True) as connection:
        # Releases of 15 there are that keep a number of their own here, which an 18 that is older does not know.
        connection.execute("update pg_attribute set attoptions = null where attoptions is not null")
    server.stop()
    taking.make()
    shutil.copy(server.folder / "superuser.password", taking.folder)
    for each in (server, taking):
        hba = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        (each.folder / "data" / "pg_hba.conf").write_text(hba)
    folders = ["-d", str(server.folder / "data"), "-D", str(taking.folder / "data"), "-s", str(taking.folder)]
    programs = ["-b", str(Postgres15.PROGRAMS), "-B", str(Path(taking.program("postgres")).parent)]
    # In these tests it is no line of postgresql.conf; a server with slots does not start without.
    logical = ["-o", "-c wal_level=logical", "-O", "-c wal_level=logical"]
    command = [taking.program("pg_upgrade"), *programs, *folders, *logical, "-U", "postgres", "--no-sync"]
    done = subprocess.run(
        [*unprivileged(taking.folder), *command], cwd=taking.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    taking.port = server.port
    taking.start()
