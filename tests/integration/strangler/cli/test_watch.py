"""What is watched in a terminal, and left with Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.command import Run
from tests.fixtures.terminal import CTRL_C, in_terminal
from tests.fixtures.waiting import until


@pytest.mark.parametrize("verb", [("status",), ("sync", "status")], ids=" ".join)
def test_a_change_is_seen_as_it_comes_and_ctrl_c_leaves(
    verb: tuple[str, ...], project_file: Path, command: Callable[[Path], Run]
) -> None:
    run = command(project_file)
    assert run("publish")[0] == 0
    with in_terminal("--project", str(project_file), *verb, "--watch") as terminal:
        until(lambda: "books" in terminal.text(), "it is shown", 20)
        assert "killed" not in terminal.text()
        assert run("kill", "books", "--reason", "watched")[0] == 0
        until(lambda: "killed" in terminal.text(), "the change is shown", 20)
        terminal.type(CTRL_C)
        assert terminal.end() == 0
        assert "Traceback" not in terminal.text()
        assert terminal.text().endswith("\x1b[?25h"), "the cursor is back"
