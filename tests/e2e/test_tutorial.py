"""The tutorial of a project that nobody here wrote: every file and command out of its page, in an empty folder."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
from pathlib import Path

import pytest

from tests.e2e.family import ADMIN, MONOLITH, POSTGRES, PROXY, ROOT, SYNC, VALKEY, free_base
from tests.fixtures.typed_page import followed

PAGE = ROOT / "docs" / "tutorial" / "from-your-monolith.md"
SERVICE = 101
pytestmark = pytest.mark.slow


def cloned(folder: Path) -> Path:
    """Copy what is installed of a clone."""
    for name in ("strangler", "strangler_proxy", "strangler_django"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "build"))
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def on_ports_of_its_own(page: str, base: int) -> str:
    """Return the page with its ports moved to ``base``, and with where the clone is."""
    for offset in (PROXY, MONOLITH, SERVICE, ADMIN):
        page = re.sub(rf"\b{8000 + offset}\b", str(base + offset), page)
    return page.replace("strangler local mysite", f"strangler local --port-base {base} mysite")


def environment(home: Path) -> dict[str, str]:
    """Return what a login gives: nothing of this repository's environment, and a home of its own."""
    ours = re.compile(r"(PYTHON|DJANGO_|STRANGLER_|VIRTUAL_ENV)|.*_(DATABASE_URL|SECRET)$|REDIS_URL$")
    path = os.pathsep.join(each for each in os.environ["PATH"].split(os.pathsep) if not each.startswith(str(ROOT)))
    kept = {name: value for name, value in os.environ.items() if ours.match(name) is None}
    return {**kept, "PATH": path, "HOME": str(home), "COLUMNS": "200"}


def quicker(uv: Path) -> str:
    """Return what has a shell use this Python, and uv for pip: the same, in a tenth of the time."""
    keeps = f'HOME="{Path.home()}"'  # its cache of wheels
    return f"""
python3() {{ "{sys.executable}" "$@"; }}
pip() {{ {keeps} "{uv}" pip "$1" --quiet --compile-bytecode "${{@:2}}"; }}
"""


def test_a_project_out_of_pypi_is_moved_there_back_and_there_again(tmp_path: Path) -> None:
    uv = Path(sys.executable).parent / "uv"
    if not uv.exists() or not shutil.which("curl"):
        pytest.skip("wants uv beside this Python, and curl")
    home = tmp_path / "home"
    home.mkdir()
    base = free_base()
    page = on_ports_of_its_own(PAGE.read_text(), base).replace("~/strangler", str(cloned(tmp_path / "clone")))
    with followed(page, home, environment(home), quicker(uv)) as doing:
        done = list(doing)
    assert len([block for block in done if block.kind == "shell"]) > 20
    for offset in (PROXY, MONOLITH, SERVICE, ADMIN, POSTGRES, VALKEY, SYNC):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", base + offset)) != 0, "somebody is left"
