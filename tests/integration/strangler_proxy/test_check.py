"""``strangler proxy --check`` says what would keep a proxy from serving, and serves nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.certificates import Authority
from tests.fixtures.project_files import ENV, STRANGLER, write


def check(
    folder: Path, proxy: str = "", env: dict[str, str] | None = None, listen: str = "127.0.0.1:8000"
) -> subprocess.CompletedProcess[str]:
    file = write(folder, {"strangler.toml": STRANGLER.replace('["127.0.0.1:8000"]\n', f'["{listen}"]\n{proxy}')})
    command = [sys.executable, "-m", "strangler", "--project", str(file), "proxy", "--check"]
    return subprocess.run(
        command, env={**os.environ, **ENV, **(env or {})}, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_good_configuration(tmp_path: Path) -> None:
    pair = Authority(tmp_path).give("shop.test")
    tls = f'[proxy.tls]\ncertificate = "{pair.certificate}"\nkey = "{pair.key}"\n'
    found = check(tmp_path, f'access_log = "{tmp_path}/log"\n{tls}', listen="tls:127.0.0.1:8443")
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout == "strangler proxy: 2 workers would listen on tls:127.0.0.1:8443 (admin 127.0.0.1:8900)\n"
    assert not (tmp_path / "log").exists()
    assert not (tmp_path / ".strangler").exists()


def test_ports_that_the_running_proxy_has_are_no_problem(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = check(tmp_path, f'admin = "127.0.0.1:{taken.getsockname()[1]}"\n')
    assert found.returncode == 0


@pytest.mark.parametrize(
    ("proxy", "env", "complaint"),
    [
        ("workers = 0\n", {}, "strangler.toml: [proxy] workers: found 0; wanted a whole number from 1 to 64"),
        ('access_log = "{folder}/none/log"\n', {}, "[proxy] access_log: {folder}/none/log cannot be written: "),
        ('access_log = "{folder}"\n', {}, "[proxy] access_log: {folder} cannot be written: it is a folder"),
        ('state = "strangler.toml"\n', {}, "[proxy] state: {folder}/strangler.toml cannot be written: "),
        ("", {"REDIS_URL": ""}, "REDIS_URL"),
        ('admin = "no.such.invalid:8900"\n', {}, "[proxy] admin: no.such.invalid:8900 cannot be listened on: "),
    ],
)
def test_each_problem_is_named(tmp_path: Path, proxy: str, env: dict[str, str], complaint: str) -> None:
    found = check(tmp_path, proxy.replace("{folder}", str(tmp_path)), env)
    assert (found.returncode, found.stdout) == (2, "")
    (line,) = found.stderr.splitlines()
    assert line.startswith("strangler proxy: ")
    assert complaint.replace("{folder}", str(tmp_path)) in line


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    tls = f'[proxy.tls]\ncertificate = "{empty}"\nkey = "{empty}"\nca = "{empty}"\n'
    proxy = f'access_log = "{tmp_path}/none/log"\n{tls}'
    found = check(tmp_path, proxy, {"STRANGLER_SECRET": ""}, listen="tls:127.0.0.1:8443")
    assert found.returncode == 2
    lines = found.stderr.splitlines()
    assert "STRANGLER_SECRET" in lines[0]
    assert [line.split(":")[1].strip() for line in lines[1:]] == ["[proxy.tls]", "[proxy.tls]", "[proxy] access_log"]
