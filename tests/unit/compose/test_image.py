"""What images are given on their way: the list of their parts, and the question for their health."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from pathlib import Path

import psycopg
import pytest

from compose.image.sbom import document, of_debian, of_python

HEALTH = Path(__file__).parents[3] / "compose" / "image" / "health.py"
STATUS = """Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u10
Description: GNU C Library
 with more lines

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""


def test_the_list_has_each_distribution_with_its_version() -> None:
    folder = Path(psycopg.__file__).parents[1]
    found = {each["name"]: each for each in of_python(str(folder))}
    assert found["psycopg"]["version"] == version("psycopg")
    assert found["psycopg"]["purl"] == f"pkg:pypi/psycopg@{version('psycopg')}"
    assert found["typing-extensions"]["type"] == "library"


def test_the_list_has_debians_packages_that_are_installed_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "status").write_text(STATUS, encoding="utf-8")
    assert [each["purl"] for each in of_debian(tmp_path / "status")] == [
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64"
    ]


def test_two_lists_of_the_same_are_the_same() -> None:
    parts = list(of_python(str(Path(psycopg.__file__).parents[1])))
    assert document("x", parts) == document("x", parts[::-1])


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # http.server's own name
        self.send_response(int(self.path.strip("/")))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def answering() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "code"), [(200, 0), (204, 0), (302, 1), (503, 1)])
def test_health_is_an_answer_with_a_status_of_success(answering: str, status: int, code: int) -> None:
    done = subprocess.run([sys.executable, "-I", "-S", HEALTH, f"{answering}/{status}"], check=False)
    assert done.returncode == code


def test_nobody_who_listens_is_no_health() -> None:
    done = subprocess.run([sys.executable, "-I", "-S", HEALTH, "http://127.0.0.1:1/"], capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stderr == b""
