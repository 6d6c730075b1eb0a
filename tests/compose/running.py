"""What tests ask of a stack that runs in containers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from compose import stack
from compose.stack import Engine, StackFailed
from tests.fixtures.waiting import until

ROOT: Final = Path(__file__).parents[2]
COMPOSE: Final = ROOT / "compose" / "compose.yaml"
MOVING: Final = ("strangler", "--project", "/srv/project/strangler.toml")


@dataclass(frozen=True, kw_only=True)
class Running:
    """The stack under the engine's project."""

    engine: Engine

    @cached_property
    def address(self) -> str:
        """Where the proxy is published."""
        place = self.inspect("proxy")["HostConfig"]["PortBindings"]["8000/tcp"][0]
        return f"http://127.0.0.1:{place['HostPort']}"

    @cached_property
    def services(self) -> Mapping[str, Mapping[str, Any]]:
        return stack.services_of([COMPOSE])

    def one(self, service: str) -> str:
        """Return the id of a service's first container."""
        return self.engine.containers(service)[0]

    def inspect(self, service: str) -> dict[str, Any]:
        return self.engine.inspect(self.one(service))

    def direct(self, service: str, port: int = 8000) -> str:
        """Return where a service answers on its own network, which the machine that runs the engine reaches."""
        return f"http://{self.place(service, 'front')}:{port}"

    def place(self, service: str, network: str) -> str:
        """Return a service's address in a network."""
        networks = self.inspect(service)["NetworkSettings"]["Networks"]
        return str(networks[f"{self.engine.project}_{network}"]["IPAddress"])

    def run(self, service: str, *words: str) -> str:
        """Run a command in a service's container. Raises ``StackFailed``."""
        return self.engine.run(service, *words).stdout

    def strangler(self, *words: str) -> str:
        """Run the command line where every database is reached, beside the jobs. Raises ``StackFailed``."""
        return self.run("jobs", *MOVING, *words)

    def sql(self, statements: str, server: str = "shop-database", base: str = "shop") -> str:
        """Run statements as a server's administrator, who is known there by the socket."""
        asked = ("psql", "-v", "ON_ERROR_STOP=1", "-qAt", "-h", "/run/postgresql", "-U", "postgres", "-d", base)
        container = self.one(server)
        return self.engine.call("exec", "--interactive", container, *asked, input=statements).stdout

    def state(self, capability: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.strangler("status", "--json"))["capabilities"][capability]
        return found

    def until_followed(self) -> None:
        """Return when both streams forward have applied what is written by now."""
        ends = self.sql("select pg_current_wal_lsn()").strip()
        behind = f"select count(*) from pg_replication_slots where confirmed_flush_lsn < '{ends}'"
        until(lambda: self.sql(behind).strip() == "0", "the streams have caught up", seconds=60)

    def until_healthy(self, *names: str) -> None:
        stack.wait(self.engine, self.services, names, seconds=90)

    def kill(self, service: str) -> None:
        """Kill a service's first container as the kernel does for want of memory, and start it again."""
        container = self.one(service)
        self.engine.call("kill", "--signal", "KILL", container)
        self.engine.call("start", container)

    def move(self, verb: str, capability: str, owner: str) -> None:
        """Move the owner; what is aborted for a killed part is asked for again, as an operator does."""
        more = ("--unobserved", "--pause-budget", "5s") if verb == "cutover" else ()

        def moved() -> bool:
            # A worker ends when its broker is killed, and the engine starts it again: nobody can be asked in between.
            try:
                return asked_again()
            except StackFailed:
                return False

        def asked_again() -> bool:
            self.engine.run("jobs", *MOVING, verb, capability, "--reason", "a test", *more, check=False)
            if self.state(capability)["data"] in ("fencing", "moving"):
                self.engine.run("jobs", *MOVING, "resume", capability, "--reason", "a test", check=False)
            return bool(self.state(capability)["owner"] == owner)

        until(moved, f"{verb}: the {owner} owns the {capability}", seconds=100)

    @contextmanager
    def shares(self, capability: str, share: str) -> Iterator[None]:
        """Have the service answer so much of the reads, and none afterwards."""
        self.strangler("set", capability, "--reads", share, "--reason", "a test")
        try:
            yield
        finally:
            self.strangler("set", capability, "--reads", "0%", "--reason", "a test is over")


def refused(engine: Engine, service: str, host: str, port: int) -> str:
    """Return why a connection from a service's container to ``host`` fails; an empty string where it does not."""
    said = engine.run(service, "python", "-c", _CONNECT, host, str(port)).stdout
    return said.strip()


_CONNECT: Final = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 2).close()
except OSError as exc:
    print(exc)
"""

__all__ = ["COMPOSE", "ROOT", "Running", "StackFailed", "refused"]
