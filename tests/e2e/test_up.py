"""``strangler up``: the toolkit's own processes, beside stacks that run already."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import psutil

from tests.e2e.family import environment, gone
from tests.fixtures.copying import Library
from tests.fixtures.ports import free_port
from tests.fixtures.proxy import Origin
from tests.fixtures.waiting import until


def strangler(project_file: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "strangler", "--project", str(project_file), *words]


def test_brings_files_into_force_serves_and_copies_until_it_is_ended(library: Library, project_file: Path) -> None:
    listen, admin = free_port(), free_port()
    with Origin() as monolith:
        text = project_file.read_text().replace("http://127.0.0.1:1", monolith.url, 1)
        ports = f'[proxy]\nlisten = ["127.0.0.1:{listen}"]\nadmin = "127.0.0.1:{admin}"\n'
        project_file.write_text(text.replace("[proxy]\n", ports))
        said = project_file.parent / "said.txt"
        with said.open("wb") as out:
            up = subprocess.Popen(
                strangler(project_file, "up"), stdout=out, stderr=out, env=environment(), cwd=project_file.parent
            )
        try:
            until(lambda: "ready after" in said.read_text() or up.poll() is not None, "it is ready", 60)
            assert up.poll() is None, said.read_text()
            family: list[psutil.Process] = psutil.Process(up.pid).children(recursive=True)
            assert httpx.get(f"http://127.0.0.1:{listen}/books/1").text == "monolith"
            copied = subprocess.run(
                strangler(project_file, "sync", "backfill", "books"), env=environment(), check=True, capture_output=True
            )
            assert b"the service holds a snapshot" in copied.stdout
            status = subprocess.run(
                strangler(project_file, "status", "--json"), env=environment(), check=True, capture_output=True
            )
            assert [worker["live"] for worker in json.loads(status.stdout)["workers"]] == [True, True]
            up.send_signal(signal.SIGINT)
            assert up.wait(20) == 0, said.read_text()
            assert gone(family) == []
        finally:
            up.kill()
            up.wait()
