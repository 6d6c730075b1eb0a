from __future__ import annotations

import os
import signal
import time
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from strangler.demo import show
from strangler.demo.show import Show, Stopped


class Finalised:
    """Asks for the end while Python takes it away: what is raised then is lost."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)


def be_asked_and_go_on() -> None:
    Finalised()
    until = time.monotonic() + 10
    while time.monotonic() < until:
        time.sleep(0.01)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_who_is_asked_to_stop_in_an_unlucky_moment_stops_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(show, "_AGAIN_S", 0.1)
    before = signal.getsignal(signal.SIGTERM)
    shown = Show(project_file=tmp_path / "strangler.toml", port_base=2_000, console=Console(file=StringIO()))
    with pytest.raises(Stopped), shown._stopped_at_the_end():
        be_asked_and_go_on()
    assert signal.getsignal(signal.SIGTERM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
