from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from strangler.local import EngineError, PortTaken, Postgres, Valkey, ensure_database, ensure_role, refuse_taken
from tests.fixtures.ports import free_port
from tests.fixtures.waiting import until


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_cluster_keeps_its_rows_across_a_kill(tmp_path: Path) -> None:
    server = Postgres(folder=tmp_path / "pg", port=free_port())
    with server, psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("create table kept as select 7 as n")
        assert server.process is not None
        server.process.kill()
        server.process.wait()
    again = Postgres(folder=tmp_path / "pg", port=free_port())
    with again, psycopg.connect(again.url()) as connection:
        assert connection.execute("select n from kept").fetchone() == (7,)
        assert connection.execute("show wal_level").fetchone() == ("logical",)


def test_a_lock_file_whose_number_went_to_another_process_does_not_stop_a_start(tmp_path: Path) -> None:
    server = Postgres(folder=tmp_path / "pg", port=free_port())
    with server:
        assert server.process is not None
        server.process.kill()
        server.process.wait()
    lock = tmp_path / "pg" / "data" / "postmaster.pid"
    with subprocess.Popen(["sleep", "60"]) as other:
        lock.write_text("\n".join([str(other.pid), *lock.read_text().split("\n")[1:]]))
        with server:
            assert lock.read_text().partition("\n")[0] != str(other.pid)
        other.kill()


def start_once(folder: Path) -> int:
    """Start and stop a cluster; return which user its files belong to."""
    with Postgres(folder=folder, port=free_port()) as server, psycopg.connect(server.url(), autocommit=True) as sql:
        sql.execute("create table if not exists kept as select 7 as n")
    return (folder / "data" / "postmaster.opts").stat().st_uid


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs to be somebody else")
def test_root_without_namespaces_runs_it_as_nobody_below_closed_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setpriv = shutil.which("setpriv")
    assert setpriv is not None
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    assert start_once(closed / "made in a namespace") in (0, 65_534)
    (tmp_path / "setpriv").symlink_to(setpriv)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert start_once(closed / "new") == 65_534
    assert start_once(closed / "made in a namespace") == 65_534


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start what is another user's")
def test_root_starts_what_another_user_made_as_that_user(tmp_path: Path) -> None:
    folder = tmp_path / "pg"
    start_once(folder)
    for path in (folder / "data", *(folder / "data").rglob("*")):
        os.chown(path, 1_234, 1_234)
    assert start_once(folder) == 1_234


def test_two_servers_never_share_a_folder(tmp_path: Path) -> None:
    with Postgres(folder=tmp_path / "pg", port=free_port()):
        second = Postgres(folder=tmp_path / "pg", port=free_port())
        with pytest.raises(EngineError, match=r'lock file "postmaster.pid" already exists'):
            second.start()
        (tmp_path / "pg" / "data" / "postmaster.pid").rename(tmp_path / "away")
        with pytest.raises(EngineError, match="shared memory block"):
            second.start()
        (tmp_path / "away").rename(tmp_path / "pg" / "data" / "postmaster.pid")


def test_engines_run_in_folders_with_blanks_and_quotes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path('it\'s a "folder"')  # relative, too
    postgres = Postgres(folder=folder / "p g", port=free_port())
    valkey = Valkey(folder=folder / "v k", port=free_port())
    with postgres, valkey, redis.Redis.from_url(valkey.url) as client:
        client.set("kept", "7")
    assert (tmp_path / folder / "v k" / "dump.rdb").exists()


def test_a_password_never_reaches_the_log(tmp_path: Path) -> None:
    with Postgres(folder=tmp_path / "pg", port=free_port(), settings={"log_statement": "all"}) as server:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            ensure_role(connection, "someone", "a-word-nobody-may-read")
        psycopg.connect(server.url(role="someone", password="a-word-nobody-may-read")).close()
        assert "create role" in server.log.read_text()
        assert "a-word-nobody-may-read" not in server.log.read_text()


def test_the_superuser_wants_a_password_and_it_is_kept_from_others(tmp_path: Path) -> None:
    with Postgres(folder=tmp_path / "pg", port=free_port()) as server:
        assert (tmp_path / "pg" / "superuser.password").stat().st_mode & 0o077 == 0
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(server.url(password="guess"))


def test_roles_and_databases_are_made_once_and_closed_to_others(postgres: Postgres) -> None:
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        for password in ("first", "it's second"):
            ensure_role(connection, "an-owner", password)
        ensure_role(connection, "a stranger", "third")
        assert ensure_database(connection, "a-base", "an-owner")
        assert not ensure_database(connection, "a-base", "an-owner")
        psycopg.connect(postgres.url("a-base", "an-owner", "it's second")).close()
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            psycopg.connect(postgres.url("a-base", "a stranger", "third"))
        connection.execute('drop database "a-base"')
        connection.execute('drop role "an-owner", "a stranger"')


def test_valkey_keeps_its_keys_and_wants_its_password(tmp_path: Path) -> None:
    with Valkey(folder=tmp_path / "valkey", port=free_port()) as server, redis.Redis.from_url(server.url) as client:
        client.set("kept", "7")
        with (
            redis.Redis(port=server.port, retry=Retry(NoBackoff(), 0)) as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.ping()
    with Valkey(folder=tmp_path / "valkey", port=free_port()) as server, redis.Redis.from_url(server.url) as client:
        assert client.get("kept") == b"7"


def test_taken_ports_are_all_named_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as one, socket.socket() as two:
        for holder in (one, two):
            holder.bind(("127.0.0.1", 0))
            holder.listen()
        ports = {"the shop": one.getsockname()[1], "Postgres": two.getsockname()[1]}
        named = ", ".join(f"port {port} \\({what}\\)" for what, port in ports.items())
        with pytest.raises(PortTaken, match=f"{named} are taken"):
            refuse_taken(ports)
        with pytest.raises(PortTaken, match="PostgreSQL"):
            Postgres(folder=tmp_path / "pg", port=ports["Postgres"]).start()
    assert not (tmp_path / "pg").exists()


PARENT = """
import sys, time
from pathlib import Path
from strangler.local import Postgres, Valkey
folder, ports = Path(sys.argv[1]), [int(port) for port in sys.argv[2:]]
servers = [Postgres(folder=folder / "p", port=ports[0]), Valkey(folder=folder / "v", port=ports[1])]
for server in servers:
    server.start()
print(*[server.process.pid for server in servers], flush=True)
time.sleep(60)
"""


def test_the_engines_die_with_their_parent(tmp_path: Path) -> None:
    arguments = [str(tmp_path), str(free_port()), str(free_port())]
    with subprocess.Popen([sys.executable, "-c", PARENT, *arguments], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(is_alive(pid) for pid in pids)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    until(lambda: not any(is_alive(pid) for pid in pids), "both engines are gone")
