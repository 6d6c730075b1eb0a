from __future__ import annotations

import sys
from types import ModuleType

import pytest

from strangler.__main__ import main


class Interrupted(ModuleType):
    """A module that Ctrl-C meets while it is loaded."""

    def __getattr__(self, name: str) -> object:
        raise KeyboardInterrupt


def test_ctrl_c_while_the_command_line_is_loaded_ends_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "strangler.cli", Interrupted("strangler.cli"))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
