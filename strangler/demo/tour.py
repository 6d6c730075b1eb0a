"""Capabilities walked through every step under steady traffic, and what the stacks' own logs say of it."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from strangler.capability import Stack
from strangler.demo.beside import beside
from strangler.demo.board import Board
from strangler.demo.judge import Judge, Leg, Step, plain
from strangler.demo.owning import owning
from strangler.demo.script import Process, Tour
from strangler.demo.show import Show
from strangler.demo.tally import Tally, logs_of
from strangler.demo.toggling import toggles
from strangler.demo.traffic import Ask, Crowd, Traffic
from strangler.ledger import Change, Publisher
from strangler.project import Problem, Project, ProjectInvalid

_LOG_S: Final = 10.0  # for a line to reach its log
_LOOK_S: Final = 0.05


@dataclass(slots=True, kw_only=True)
class Guide:
    """Leads visitors through the tour. Raises ``ProjectInvalid`` when the project has no such thing."""

    show: Show
    project: Project
    tour: Tour
    visitors: int
    processes: Sequence[Process]

    def __post_init__(self) -> None:
        _refuse_strange(self.tour, self.project)

    def walk(self, report: Path | None) -> bool:
        """Walk all steps, print them, write ``report``; return whether every step held."""
        begun = time.monotonic()
        tour, folder, steps = self.tour, self.show.folder, []
        with beside("writer", tour.writer, folder), Publisher.open(self.project) as publisher:
            legs = [*toggles(tour.capability, tour.cohort, self.visitors, self.project, publisher)]
            steps += self._lead(tour, legs, publisher)
            if tour.move is not None:
                following = replace(tour, capability=tour.move.capability, paths=tour.move.paths)
                with beside("clients", tour.move.clients, folder):
                    legs = [*owning(tour.move, self.visitors, self.project, publisher)]
                    steps += self._lead(following, legs, publisher)
        if report is not None:
            report.write_text(json.dumps(plain(steps), indent=2) + "\n")
        self._sum_up(steps, time.monotonic() - begun)
        return all(step.holds for step in steps)

    def _lead(self, tour: Tour, legs: Sequence[Leg], publisher: Publisher) -> list[Step]:
        walk = _Walk(show=self.show, project=self.project, tour=tour, processes=self.processes, publisher=publisher)
        asyncio.run(walk.through(legs))
        return walk.steps

    def _sum_up(self, steps: Sequence[Step], seconds: float) -> None:
        requests, failures = (sum(getattr(step, name) for step in steps) for name in ("requests", "failures"))
        off = [step.name for step in steps if step.is_off]
        shares = f"the share was off at {', '.join(off)}" if off else "every share was as asked"
        words = f"{requests:,} requests in {seconds:.0f} s, {failures:,} failed; {shares}"
        self.show.console.print(words, style="red" if failures or off else "green", highlight=False)


@dataclass(slots=True, kw_only=True)
class _Walk:
    """One capability's steps, under traffic for ``tour``."""

    show: Show
    project: Project
    tour: Tour
    processes: Sequence[Process]
    publisher: Publisher
    steps: list[Step] = field(default_factory=list, init=False)
    _tally: Tally = field(init=False)
    _judge: Judge = field(init=False)

    def __post_init__(self) -> None:
        paths = frozenset(path.partition("?")[0] for path in self.tour.paths)
        logs = logs_of(self.processes, self.project.services)
        self._tally = Tally(run=secrets.token_hex(4), paths=paths, logs=logs)
        self._judge = Judge(capability=self.tour.capability, keys=self.project.control.keys())

    async def through(self, legs: Sequence[Leg]) -> None:
        self._tally.start()
        async with (
            Traffic(self.project.proxy.url, self.tour, self._tally.run) as traffic,
            Board(self.tour.capability, self.steps, self._tally, traffic, self.show.console, self.show.heal) as board,
        ):
            for leg in legs:
                await self._leg(leg, traffic, board)
        self._add(traffic.crowds[-1])

    def _add(self, last: Crowd) -> None:
        """Add whoever came after the last step to it: their requests may not fail either."""
        step = self.steps[-1]
        self.steps[-1] = replace(
            step, requests=step.requests + last.requests, failures=step.failures + len(last.failures)
        )

    async def _leg(self, leg: Leg, traffic: Traffic, board: Board) -> None:
        between = traffic.crowds[-1]
        ack_ms = await self._command(leg)
        found = await asyncio.to_thread(leg.first) if leg.first else None
        if not leg.visitors:
            return
        crowd = traffic.come(leg.visitors, cohort=leg.cohort)
        board.leg = leg, crowd
        found = await asyncio.to_thread(leg.work) if leg.work else found
        await crowd.done.wait()
        answers = await self._answers(crowd)
        step, failures = self._judge.step(leg, crowd, between, answers, ack_ms)
        step = replace(step, found=found)
        self.steps.append(step)
        board.leg = None
        board.tell(step, failures)

    async def _command(self, leg: Leg) -> float:
        """Command what the leg begins with; return the milliseconds until every proxy routes by it."""
        if leg.command is None:
            return 0.0
        change = Change(capability=self.tour.capability, command=leg.command, who="tour", reason=f"tour: {leg.name}")
        _, acknowledgement = await asyncio.to_thread(self.publisher.change, change, self.project)
        return acknowledgement.ms

    async def _answers(self, crowd: Crowd) -> Mapping[Ask, Sequence[Stack]]:
        """Return who answered, once every answer has reached a log, or the time for that is over."""
        deadline = time.monotonic() + _LOG_S
        while True:
            self._tally.read()
            found = self._tally.of_crowd(crowd.number)
            if len(found) >= len(crowd.answered) or time.monotonic() > deadline:
                return found
            await asyncio.sleep(_LOOK_S)


def _refuse_strange(tour: Tour, project: Project) -> None:
    names = {"capability": tour.capability, **({"move.capability": tour.move.capability} if tour.move else {})}
    for key, name in names.items():
        if name not in project.capabilities:
            known = ", ".join(project.capabilities) or "none yet"
            raise ProjectInvalid((_problem(key, name, f"a capability (there: {known})"),))
    cohorts = [each.name for each in project.capabilities[tour.capability].cohorts]
    if tour.cohort not in cohorts:
        wanted = f"a cohort of {tour.capability} (there: {', '.join(cohorts) or 'none yet'})"
        raise ProjectInvalid((_problem("cohort", tour.cohort, wanted),))


def _problem(key: str, found: str, wanted: str) -> Problem:
    return Problem(file="demo.toml", key=f"[tour] {key}", found=repr(found), wanted=wanted)
