"""Clients that write where they may, and keep a file of what was sent and what was acknowledged: a process apart.

``python -m tests.chaos.clients FILE CLIENTS SEED``, with the two databases' URLs on standard input; it ends when that
is closed. Each client has keys of its own and writes one thing after the other. A line is written before a change is
sent and after its answer. A change whose answer was lost may be there or not, now or soon: its key is left alone.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psycopg

FENCED: Final = "SF001"
STACKS: Final = ("monolith", "service")
SPAN: Final = 1_000_000
_STATEMENTS: Final[Mapping[str, Mapping[str, str]]] = {
    "monolith": {
        "insert": "insert into book values (%(key)s, %(title)s, 1, 'x', %(version)s)",
        "update": "update book set version = %(version)s where id = %(key)s",
        "delete": "delete from book where id = %(key)s",
    },
    "service": {
        "insert": "insert into volume values (%(key)s, %(title)s, 100, 'x', %(version)s)",
        "update": "update volume set version = %(version)s where id = %(key)s",
        "delete": "delete from volume where id = %(key)s",
    },
}
_PATIENCE_S: Final = 120.0
_LOOK_S: Final = 0.02


class Log:
    """The file of all clients: whole lines, in the order in which they happened."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def tell(self, **words: object) -> None:
        os.write(self._file, json.dumps({"at": time.time(), **words}).encode() + b"\n")


class Client:
    """One client: its keys are those from ``number * SPAN`` on."""

    def __init__(self, number: int, urls: Mapping[str, str], log: Log, seed: int) -> None:
        self._urls, self._log = urls, log
        self._draw = random.Random(f"{seed} {number}")
        self._connections: dict[str, psycopg.Connection] = {}
        self._next = number * SPAN
        self._mine: list[int] = []
        self._version = 0
        self._where = STACKS[0]

    def run(self, over: threading.Event) -> None:
        while not over.wait(self._draw.random() * 0.02):
            self._change()
        for connection in self._connections.values():
            connection.close()

    def _change(self) -> None:
        self._version += 1
        kind = self._draw.choices(("insert", "update", "delete"), (5, 4, 1))[0] if self._mine else "insert"
        if kind == "insert":
            self._next += 1
            key = self._next
        else:
            key = self._draw.choice(self._mine)
        value = None if kind == "delete" else key * 1_000_000 + self._version
        self._log.tell(key=key, value=value, what="sent")
        where = self._write(kind, {"key": key, "title": f"Book {key}", "version": value})
        self._log.tell(key=key, value=value, what="acknowledged" if where else "lost", where=where)
        if kind == "insert" and where:
            self._mine.append(key)
        elif kind != "insert" and (kind == "delete" or not where):
            self._mine.remove(key)

    def _write(self, kind: str, values: Mapping[str, object]) -> str | None:
        """Write where it is let, and return where; None where the answer was lost."""
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                connection = self._connected(self._where)
            except psycopg.OperationalError:  # nothing was sent
                self._elsewhere(until)
                continue
            try:
                done = connection.execute(_STATEMENTS[self._where][kind].encode(), values)
            except psycopg.Error as exc:
                if exc.sqlstate != FENCED:
                    self._connections.pop(self._where).close()
                    return None
                self._elsewhere(until)
            else:
                assert done.rowcount == 1, (kind, values, self._where, done.rowcount)
                return self._where

    def _connected(self, where: str) -> psycopg.Connection:
        if where not in self._connections or self._connections[where].closed:
            self._connections[where] = psycopg.connect(self._urls[where], autocommit=True, connect_timeout=2)
        return self._connections[where]

    def _elsewhere(self, until: float) -> None:
        if time.monotonic() > until:
            raise TimeoutError(f"nobody lets it write for {_PATIENCE_S:g} s")
        self._where = STACKS[1 - STACKS.index(self._where)]
        time.sleep(_LOOK_S)


def main() -> None:
    path, clients, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    urls, log, over = json.loads(sys.stdin.readline()), Log(path), threading.Event()
    failed: list[BaseException] = []

    def run(client: Client) -> None:
        try:
            client.run(over)
        except BaseException as exc:
            failed.append(exc)
            log.tell(what="failed", why=repr(exc))

    threads = [
        threading.Thread(target=run, args=(Client(number, urls, log, seed),)) for number in range(1, clients + 1)
    ]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    over.set()
    for thread in threads:
        thread.join()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
