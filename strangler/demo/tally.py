"""Who answered, by the stacks' own access logs: every line that a tour's request has left there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from strangler.capability import Stack
from strangler.demo.script import Process
from strangler.demo.traffic import Ask
from strangler.routing.table import MONOLITH


@dataclass(slots=True, kw_only=True)
class AccessLog:
    """A log that grows; ``line`` finds ``path`` and ``trace`` in one of its lines."""

    stack: Stack
    file: Path
    line: re.Pattern[str]
    _offset: int = 0
    _rest: bytes = b""

    def skip(self) -> None:
        """Leave out what stands there now."""
        self._offset = self.file.stat().st_size if self.file.exists() else 0
        self._rest = b""

    def news(self) -> list[tuple[str, str]]:
        """Return path and trace of each whole line that came since the last call."""
        if not self.file.exists():
            return []
        with self.file.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        self._offset += len(data)
        whole, newline, self._rest = (self._rest + data).rpartition(b"\n")
        lines = (whole + newline).decode(errors="replace").splitlines()
        return [(match["path"], match["trace"]) for each in lines if (match := self.line.search(each))]


@dataclass(slots=True, kw_only=True)
class Tally:
    """Which stack answered which request of a run, as far as the logs say by now."""

    run: str
    paths: frozenset[str]
    logs: Sequence[AccessLog]
    crowds: dict[int, dict[Ask, list[Stack]]] = field(default_factory=dict)

    def start(self) -> None:
        for log in self.logs:
            log.skip()

    def read(self) -> None:
        """Take in what the logs have gained."""
        for log in self.logs:
            for path, trace in log.news():
                if trace.startswith(self.run) and path in self.paths:
                    ask = Ask.of(trace)
                    self.crowds.setdefault(ask.crowd, {}).setdefault(ask, []).append(log.stack)

    def of_crowd(self, number: int) -> dict[Ask, list[Stack]]:
        """Return who answered the requests of one crowd: one stack each, if all is well."""
        return self.crowds.get(number, {})


def logs_of(processes: Sequence[Process], services: Mapping[str, object]) -> list[AccessLog]:
    """Return the access logs of the processes that are named as the monolith or one of the services."""
    return [
        AccessLog(stack=_stack(process.name), file=process.access_log, line=process.access_line)
        for process in processes
        if process.access_log and process.access_line and process.name in {MONOLITH, *services}
    ]


def _stack(name: str) -> Stack:
    return Stack.MONOLITH if name == MONOLITH else Stack.SERVICE
