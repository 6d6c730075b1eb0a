"""Both stacks, running over the same rows, under the same public name."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from strangler.parity.compare import Answer, differences
from strangler.regression.case import Case
from strangler.regression.stack import Stack, Unreachable
from tests.fixtures.ports import free_port
from tests.fixtures.shop import MONOLITH, Databases, catalog_files, environment, shop

__all__ = ["both_stacks", "catalog_files", "shop"]

PUBLIC_NAME: Final = "localhost:8000"
_START_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BothStacks:
    """Asks both stacks the same."""

    monolith: Stack
    service: Stack

    def ask(self, case: Case) -> tuple[Answer, Answer]:
        return self.monolith.ask(case), self.service.ask(case)

    def agree(self, case: Case) -> Answer:
        """Assert that both answer alike, and return the monolith's answer."""
        monolith, service = self.ask(case)
        found = differences(monolith, service, case.exemptions)
        assert not found, "\n".join([f"{case}", *(each.told("monolith", "service") for each in found)])
        return monolith


@pytest.fixture(scope="session")
def both_stacks(shop: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BothStacks]:
    logs = tmp_path_factory.mktemp("stacks")
    gunicorn = ["-m", "gunicorn", "--workers=1", "--threads=2", "--log-level=warning", "--bind=127.0.0.1:{port}"]
    catalog = ["-m", "catalog_service", "serve", "--listen=127.0.0.1:{port}", f"--request-log={logs / 'requests'}"]
    with _running(gunicorn, shop, logs / "monolith") as monolith, _running(catalog, shop, logs / "catalog") as service:
        yield BothStacks(monolith=monolith, service=service)


@contextmanager
def _running(arguments: list[str], databases: Databases, log: Path) -> Iterator[Stack]:
    port = free_port()
    command = [sys.executable, *(each.format(port=port) for each in arguments)]
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=MONOLITH, env=environment(databases), stdout=output, stderr=subprocess.STDOUT
        )
    try:
        with closing(Stack(f"http://127.0.0.1:{port}", name=arguments[1], public_name=PUBLIC_NAME)) as stack:
            _wait(stack, process, log)
            yield stack
    finally:
        process.terminate()
        process.wait(20)


def _wait(stack: Stack, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if stack.ask(Case(target="/api/catalog/categories/")).status == 200:
                return
        except Unreachable:
            time.sleep(0.02)
    raise AssertionError(f"{process.args!r} does not answer:\n{log.read_text()}")
