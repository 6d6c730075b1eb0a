"""``strangler_django`` in a project of its own, run by Django's own test runner, so that any release can run it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[2]


def test_the_monolith_s_part_answers_as_it_should() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "django", "test", "guestbook.checks", "--pattern=check_*.py"],
        cwd=FOLDER,
        env={
            **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR", "LANG")},
            "PYTHONPATH": os.pathsep.join((str(FOLDER), str(ROOT))),
            "DJANGO_SETTINGS_MODULE": "guestbook.settings",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    ran = re.search(r"^Ran (\d+) tests", done.stderr, flags=re.MULTILINE)
    assert ran is not None
    assert int(ran[1]) >= 25
    assert "skipped" not in done.stderr, done.stderr


def test_the_wheel_holds_the_package_and_nothing_of_the_toolkit(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT / "strangler_django", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("strangler_django-*-py3-none-any.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    folder = ROOT / "strangler_django"
    modules = {str(path.relative_to(folder)) for path in folder.rglob("*.py")}
    package = {name for name in names if ".dist-info/" not in name}
    assert package == {f"strangler_django/{name}" for name in {*modules, "py.typed"}}
