"""Commands of the example's that work beside a tour."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from strangler.demo.family import Child, ChildFailed, how
from strangler.demo.folder import Folder
from strangler.demo.script import Works

_ENDS_S: Final = 5.0  # by itself, once it is asked to
_CHECKS_S: Final = 120.0
_LOOK_S: Final = 0.05


@contextmanager
def beside(name: str, works: Works | None, folder: Folder) -> Iterator[None]:
    """Have a command work meanwhile, where there is one. Raises ``ChildFailed`` where it ends before its time."""
    if works is None:
        yield
        return
    child = Child(
        name=name, command=works.command, folder=works.folder, environment=works.environment, log=folder.log(name)
    )
    child.start()
    try:
        yield
        if child.exit_code is not None:
            raise ChildFailed(f"the tour's {name} ended ({how(child.exit_code)}); see {child.log}")
    finally:
        child.ask_to_stop()
        until = time.monotonic() + _ENDS_S
        while child.exit_code is None and time.monotonic() < until:
            time.sleep(_LOOK_S)
        child.end()


def ask(works: Works) -> tuple[bool, str]:
    """Run a command to its end, and return whether it ended well, and the last line that it printed."""
    try:
        done = subprocess.run(
            works.command,
            cwd=works.folder,
            env={**os.environ, **works.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_CHECKS_S,
        )
    except subprocess.TimeoutExpired:
        return False, f"no answer within {_CHECKS_S:.0f} s"
    lines = (done.stdout if done.returncode == 0 else done.stdout or done.stderr).strip().splitlines()
    return done.returncode == 0, lines[-1] if lines else "nothing"
