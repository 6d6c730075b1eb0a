"""What is left of a stream's sessions while they begin again and again."""

from __future__ import annotations

import gc
import weakref

import pytest

from strangler.sync import running
from strangler.sync.direction import Direction, Way
from strangler.sync.errors import BatchBroken

FORWARD = Direction(
    capability="books",
    way=Way.FORWARD,
    tables=(),
    source="monolith",
    source_url="",
    target="books",
    target_url="",
    file="mapping.toml",
)


class Session:
    """Like a stream's: it holds itself."""

    def __init__(self) -> None:
        self.flush = self.run

    def run(self) -> None:
        """Be held."""


def test_a_session_that_has_ended_is_gone_before_the_next_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, left = list[weakref.ref[Session]](), list[int]()

    def follow(*_: object, **__: object) -> None:
        left.append(sum(each() is not None for each in begun))
        begun.append(weakref.ref(Session()))
        raise BatchBroken("a batch breaks a constraint", 1)

    monkeypatch.setattr(running, "follow", follow)
    gc.disable()
    try:
        running.keep(FORWARD, lambda: len(begun) < 3)
    finally:
        gc.enable()
    assert left == [0, 0, 0]
