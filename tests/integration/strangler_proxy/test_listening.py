"""Sockets to listen on: of either family, of Unix, and given back so that nothing stays and nobody is failed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
import uvloop

from strangler.routing.address import plain_address
from strangler_proxy.errors import AddressTaken, ProxyError
from strangler_proxy.listening import accept, bind, turn_away

PATIENCE = 10.0


@contextlib.contextmanager
def bound(address: str, copies: int = 1, mode: int = 0o660) -> Iterator[list[socket.socket]]:
    listeners = bind(address, copies, mode)
    try:
        yield listeners
    finally:
        for listener in listeners:
            turn_away(listener)
            listener.close()


def port_of(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


class Namer(asyncio.Protocol):
    """Tells each client the address that it is known by, and ends."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast("asyncio.Transport", transport)
        name = stream.get_extra_info("peername")
        stream.write((plain_address(name[0]) if name else "unix").encode())
        stream.close()


async def asked(listeners: list[socket.socket], *addresses: tuple[str, int] | str | socket.socket) -> list[str]:
    """Serve ``listeners``, and return what each of ``addresses`` is told there."""
    servers = [await accept(Namer, listener.dup()) for listener in listeners]  # as a worker has its own
    answers = []
    for address in addresses:
        if isinstance(address, str):
            reader, writer = await asyncio.open_unix_connection(address)
        elif isinstance(address, socket.socket):
            reader, writer = await asyncio.open_unix_connection(sock=address)
        else:
            reader, writer = await asyncio.open_connection(*address)
        answers.append((await asyncio.wait_for(reader.read(), PATIENCE)).decode())
        writer.close()
    for server in servers:
        server.close()
    return answers


def test_every_address_of_both_families() -> None:
    with bound("[::]:0") as listeners:
        port = port_of(listeners[0])
        assert uvloop.run(asked(listeners, ("127.0.0.1", port), ("::1", port))) == ["127.0.0.1", "::1"]


def test_one_address_is_of_its_family_alone() -> None:
    with bound("[::1]:0") as listeners:
        port = port_of(listeners[0])
        assert uvloop.run(asked(listeners, ("::1", port))) == ["::1"]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


def test_a_name_of_both_families_is_one_of_ipv4() -> None:
    with bound("localhost:0") as listeners:
        assert listeners[0].getsockname()[0] == "127.0.0.1"


def test_every_address_is_named_once() -> None:
    with bound("0.0.0.0:0") as listeners:
        port = port_of(listeners[0])
        with pytest.raises(AddressTaken, match=rf"cannot listen on \[::\]:{port}: address already in use"):
            bind(f"[::]:{port}", 1)


def test_each_worker_has_a_socket_of_its_own_and_a_rival_has_none() -> None:
    with bound("127.0.0.1:0", copies=2) as listeners:
        port = port_of(listeners[0])
        assert {port_of(each) for each in listeners} == {port}
        with pytest.raises(AddressTaken, match="address already in use"):
            bind(f"127.0.0.1:{port}", 2)


def test_what_is_no_address_is_said() -> None:
    with pytest.raises(ProxyError, match=r"^'8000' is no address to listen on: there is no port$"):
        bind("8000", 1)


def test_a_name_that_nobody_knows() -> None:
    with pytest.raises(AddressTaken, match=r"^cannot listen on no\.such\.invalid:80: "):
        bind("no.such.invalid:80", 1)


# --- Unix ---


def test_workers_share_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "shop.sock"
    with bound(f"unix:{path}", copies=3) as listeners:
        assert len({each.fileno() for each in listeners}) == 3
        assert uvloop.run(asked(listeners[:1], str(path))) == ["unix"]
        assert path.is_socket(), "a worker that ends takes nothing from the others"
        assert uvloop.run(asked(listeners[1:], str(path), str(path))) == ["unix", "unix"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_who_may_connect_is_told_by_the_mode(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "shop.sock"
    with bound(f"unix:{path}", mode=mode):
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_what_a_dead_process_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "shop.sock"
    left = f"import os\nfrom strangler_proxy.listening import bind\nbind('unix:{path}', 1)\nos.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", left], check=False).returncode == -9
    assert path.is_socket()
    with bound(f"unix:{path}") as listeners:
        assert uvloop.run(asked(listeners, str(path))) == ["unix"]


def test_what_a_live_process_listens_on_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "shop.sock"
    with bound(f"unix:{path}") as listeners:
        with pytest.raises(AddressTaken) as taken:
            bind(f"unix:{path}", 1)
        assert str(taken.value) == f"cannot listen on unix:{path}: somebody listens there already"
        listeners[0].accept()[0].close()  # that it was looked at
        assert uvloop.run(asked(listeners, str(path))) == ["unix"]


def test_a_live_one_whose_queue_is_full_lives(tmp_path: Path) -> None:
    path = tmp_path / "shop.sock"
    with socket.socket(socket.AF_UNIX) as busy, contextlib.ExitStack() as clients:
        busy.bind(str(path))
        busy.listen(0)
        client = clients.enter_context(socket.socket(socket.AF_UNIX))
        client.connect(str(path))
        with pytest.raises(AddressTaken, match="somebody listens there already"):
            bind(f"unix:{path}", 1)


def test_a_file_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "shop.sock"
    path.write_text("a letter")
    with pytest.raises(AddressTaken, match=r"there is something that is no socket$"):
        bind(f"unix:{path}", 1)
    assert path.read_text() == "a letter"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(AddressTaken, match=r"no such file or directory$"):
        bind(f"unix:{tmp_path}/run/shop.sock", 1)


def test_a_successor_keeps_the_file_that_it_made(tmp_path: Path) -> None:
    path = tmp_path / "shop.sock"
    (ours,) = bind(f"unix:{path}", 1)
    path.unlink()
    with bound(f"unix:{path}") as theirs:
        turn_away(ours)
        ours.close()
        assert uvloop.run(asked(theirs, str(path))) == ["unix"]
    assert not path.exists()


def test_of_two_that_find_a_dead_ones_file_one_gets_it(tmp_path: Path) -> None:
    path = tmp_path / "shop.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    code = (
        "import sys\nfrom strangler_proxy.errors import AddressTaken\nfrom strangler_proxy.listening import bind\n"
        f"sys.stdin.readline()\ntry: kept = bind('unix:{path}', 1)\nexcept AddressTaken: print('taken', flush=True)\n"
        "else: print('bound', flush=True)\nsys.stdin.readline()"
    )
    rivals = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for rival in rivals:
        assert rival.stdin is not None
        rival.stdin.write("go\n")
        rival.stdin.flush()
    said = [rival.stdout.readline() for rival in rivals if rival.stdout is not None]
    for rival in rivals:
        rival.communicate("end\n", timeout=PATIENCE)
    assert sorted(said) == ["bound\n", "taken\n", "taken\n", "taken\n"]


def test_who_is_in_the_queue_is_served_after_the_turning_away(tmp_path: Path) -> None:
    path = tmp_path / "shop.sock"
    with bound(f"unix:{path}") as listeners, socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(str(path))
        turn_away(listeners[0])
        with pytest.raises(FileNotFoundError), socket.socket(socket.AF_UNIX) as late:
            late.connect(str(path))
        assert uvloop.run(asked(listeners, client)) == ["unix"]


def test_nothing_is_left_open_by_a_bind_that_fails(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 -- a listing of its own descriptors
    for _ in range(3):
        with pytest.raises(AddressTaken):
            bind(f"unix:{tmp_path}/none/shop.sock", 2)
        with bound("127.0.0.1:0", copies=2) as listeners, pytest.raises(AddressTaken):
            bind(f"127.0.0.1:{port_of(listeners[0])}", 2)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
