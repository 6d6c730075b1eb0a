"""The toolkit as a team installs it: alone, in an environment that has nothing, for a project elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = """
[monolith]
endpoints = ["http://127.0.0.1:1"]
[control]
database = "$DATABASE"
redis = "$REDIS"
secret = "$SECRET"
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of an environment with nothing but ``strangler`` and what it needs."""
    uv = Path(sys.executable).parent / "uv"
    if not uv.exists():
        pytest.skip("no uv beside this Python: make installs it")
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "source"
    source.mkdir()
    for name in ("strangler", "strangler_proxy"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    environment = folder / "environment"
    for command in (
        ["venv", "--quiet", str(environment)],
        ["pip", "install", "--quiet", "--python", str(environment), "."],
    ):
        subprocess.run([uv, *command], cwd=source, check=True)
    return environment / "bin"


def run(program: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run([program, *words], cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_the_command_line_works_for_a_project_elsewhere(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "migrations").mkdir()
    (tmp_path / "strangler.toml").write_text(PROJECT)
    assert run(installed / "strangler", tmp_path, "--version").stdout.startswith("strangler ")
    done = run(installed / "strangler", tmp_path, "check")
    assert done.returncode == 1
    assert "[control] database: found $DATABASE, and DATABASE is not set" in " ".join(done.stdout.split())


def test_a_verb_of_an_extra_names_the_extra(installed: Path, tmp_path: Path) -> None:
    done = run(installed / "strangler", tmp_path, "proxy", "--origin", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert "pip install 'strangler[proxy]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_file_that_the_ledger_needs_is_in_the_wheel(installed: Path) -> None:
    code = "from strangler.ledger.schema import _upgrades; print(len(_upgrades()))"
    done = run(installed / "python", installed, "-c", code)
    assert done.stdout.strip() == str(len(list((ROOT / "strangler/ledger/upgrades").glob("*.sql"))))
