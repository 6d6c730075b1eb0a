"""The two databases that a move of ownership goes between: one connection each, made before anybody waits for it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import psycopg

from strangler.capability import Stack
from strangler.project import CapabilityFiles, Project
from strangler.sync.direction import Direction, directions
from strangler.sync.fencing import Fence, fence_of
from strangler.sync.transfer import open_database


class Ends:
    """The databases of both stacks, by stack. A connection that was lost is made anew when it is wanted again."""

    def __init__(self, files: CapabilityFiles, project: Project) -> None:
        forward, back = directions(files, project)
        self._towards: Mapping[Stack, Direction] = {Stack.SERVICE: forward, Stack.MONOLITH: back}
        self._open: dict[Stack, tuple[ExitStack, psycopg.Connection]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stack in tuple(self._open):
            self.drop(stack)

    def towards(self, stack: Stack) -> Direction:
        """Return the stream into the database of ``stack``."""
        return self._towards[stack]

    def fence(self, stack: Stack) -> Fence:
        return fence_of(self._towards[stack])

    def at(self, stack: Stack) -> psycopg.Connection:
        """Return the connection to the database of ``stack``. Raises ``Unreachable``."""
        if stack not in self._open or self._open[stack][1].closed:
            self.drop(stack)
            direction = self._towards[stack]
            opened = ExitStack()
            name = f"strangler cutover {direction.capability}"
            connection = opened.enter_context(open_database(direction.target_url, direction.target, name))
            connection.execute("set plan_cache_mode = force_generic_plan")  # what is asked in a pause was asked before
            self._open[stack] = (opened, connection)
        return self._open[stack][1]

    def drop(self, stack: Stack) -> None:
        """Forget a connection that may be lost, so that the next use makes it anew."""
        opened = self._open.pop(stack, None)
        if opened is not None:
            opened[0].close()
