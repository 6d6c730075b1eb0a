"""``strangler_django`` in a project of its own, run by Django's own test runner, so that any release can run it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
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
