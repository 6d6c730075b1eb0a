"""A capability walked through every step under steady traffic, and what the stacks' own logs say of it."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import compress
from pathlib import Path
from typing import Final

from rich.live import Live
from rich.table import Table

from strangler.capability import WHOLE, Clear, Kill, SetReads, Stack
from strangler.demo.family import Child, ChildFailed, how
from strangler.demo.judge import Found, Judge, Leg, Step, needed, plain
from strangler.demo.script import Process, Tour
from strangler.demo.show import Show
from strangler.demo.tally import Tally, logs_of
from strangler.demo.traffic import Ask, Crowd, Traffic
from strangler.ledger import Change, Publisher
from strangler.project import Problem, Project, ProjectInvalid
from strangler.sync.copying import Copying, copy
from strangler.sync.syncing import Asked, complete, leading, remove, settling, start
from strangler.sync.verify import Progress, Verdict, Verifying, verify

_LOG_S: Final = 10.0  # for a line to reach its log
_LOOK_S: Final = 0.05
_DRAW_S: Final = 0.5
_WRITER_S: Final = 5.0  # for a writer to end by itself
_TOLD: Final = 5  # failures of a step that are told in words


@dataclass(slots=True, kw_only=True)
class Guide:
    """Leads visitors through the steps of ``tour``. Raises ``ProjectInvalid`` when the project has no such thing."""

    show: Show
    project: Project
    tour: Tour
    visitors: int
    processes: Sequence[Process]
    steps: list[Step] = field(default_factory=list, init=False)
    _tally: Tally = field(init=False)
    _judge: Judge = field(init=False)

    def __post_init__(self) -> None:
        _refuse_strange(self.tour, self.project)
        paths = frozenset(path.partition("?")[0] for path in self.tour.paths)
        logs = logs_of(self.processes, self.project.services)
        self._tally = Tally(run=secrets.token_hex(4), paths=paths, logs=logs)
        self._judge = Judge(capability=self.tour.capability, keys=self.project.control.keys())

    def walk(self, report: Path | None) -> bool:
        """Walk all steps, print them, write ``report``; return whether every step held."""
        begun = time.monotonic()
        with self._writing(), Publisher.open(self.project) as publisher:
            asyncio.run(self._walk(publisher))
        if report is not None:
            report.write_text(json.dumps(plain(self.steps), indent=2) + "\n")
        self._sum_up(time.monotonic() - begun)
        return all(step.holds for step in self.steps)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Have the monolith's rows change meanwhile, where the script says how."""
        if self.tour.writer is None:
            yield
            return
        writer = Child(
            name="writer",
            command=self.tour.writer.command,
            folder=self.tour.writer.folder,
            environment=self.tour.writer.environment,
            log=self.show.folder.log("writer"),
        )
        writer.start()
        try:
            yield
            if writer.exit_code is not None:
                raise ChildFailed(f"the tour's writer has ended ({how(writer.exit_code)}); see {writer.log}")
        finally:
            writer.ask_to_stop()
            until = time.monotonic() + _WRITER_S
            while writer.exit_code is None and time.monotonic() < until:
                time.sleep(_LOOK_S)
            writer.end()

    async def _walk(self, publisher: Publisher) -> None:
        self._tally.start()
        base = self.project.proxy.url
        async with Traffic(base, self.tour, self._tally.run) as traffic, _Board(self, traffic) as board:
            for leg in list(self._legs(publisher)):
                await self._leg(leg, publisher, traffic, board)
        self._add(traffic.crowds[-1])

    def _add(self, last: Crowd) -> None:
        """Add whoever came after the last step to it: their requests may not fail either."""
        step = self.steps[-1]
        self.steps[-1] = replace(
            step, requests=step.requests + last.requests, failures=step.failures + len(last.failures)
        )

    async def _leg(self, leg: Leg, publisher: Publisher, traffic: Traffic, board: _Board) -> None:
        between = traffic.crowds[-1]
        ack_ms = await self._command(leg, publisher)
        if not leg.visitors:
            return
        crowd = traffic.come(leg.visitors, cohort=leg.cohort)
        board.leg = leg, crowd
        found = await asyncio.to_thread(leg.work) if leg.work else None
        await crowd.done.wait()
        answers = await self._answers(crowd)
        step, failures = self._judge.step(leg, crowd, between, answers, ack_ms)
        step = replace(step, found=found)
        self.steps.append(step)
        board.leg = None
        board.tell(step, failures)

    async def _command(self, leg: Leg, publisher: Publisher) -> float:
        """Command what the leg begins with; return the milliseconds until every proxy routes by it."""
        if leg.command is None:
            return 0.0
        change = Change(capability=self.tour.capability, command=leg.command, who="tour", reason=f"tour: {leg.name}")
        _, acknowledgement = await asyncio.to_thread(publisher.change, change, self.project)
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

    def _legs(self, publisher: Publisher) -> Iterator[Leg]:
        few = max(100, self.visitors // 10)
        cohort = self.tour.cohort
        if publisher.ledger.state(self.tour.capability).killed is not None:
            yield Leg(name="cleared", command=Clear(), share=0, visitors=0)
        yield self._share("0 %", 0, {cohort: None})
        if publisher.ledger.state(self.tour.capability).is_streamed:
            yield Leg(name="syncing", work=self._sync_anew, share=0, visitors=few)
        yield self._share("10 %", 1_000)
        yield self._share("cohort", 1_000, {cohort: Stack.SERVICE})
        yield self._share("50 %", 5_000, {cohort: None})
        yield self._share("100 %", WHOLE)
        yield Leg(name="killed", command=Kill(reason="tour: the kill switch"), share=0, visitors=few)
        yield Leg(name="cleared", command=Clear(), share=0, visitors=few)
        if publisher.ledger.state(self.tour.capability).is_streamed:
            yield Leg(name="verify", work=self._verify, share=0, visitors=few)

    def _sync_anew(self) -> Found:
        """Begin the streams and the copy anew, while the monolith is read and written, and compare."""
        begun, name = time.monotonic(), self.tour.capability
        asked = Asked(capability=name, who="tour", reason="tour: syncing")
        with Publisher.open(self.project) as publisher:
            remove(asked, self.project, publisher)
            start(asked, self.project, publisher, replace=True)
            for _ in copy(Copying(capability=name, who="tour", reason=asked.reason), self.project, publisher):
                pass
            return _found(complete(asked, self.project, publisher), begun)

    def _verify(self) -> Found:
        name = self.tour.capability
        stream = leading(name, self.project)
        comparing = Verifying(capability=name, settle=settling(stream), way=stream.way)
        return _found(verify(comparing, self.project), time.monotonic())

    def _share(self, name: str, share: int, cohorts: Mapping[str, Stack | None] | None = None) -> Leg:
        command = SetReads(share=share, cohorts=cohorts or {}, allow_stale=True)
        within = Stack.SERVICE in (cohorts or {}).values()
        leg = Leg(name=name, command=command, share=share, visitors=0, cohort=within)
        visitors = needed(leg.variance, self.visitors)
        return Leg(name=name, command=command, share=share, visitors=visitors, cohort=within)

    def _sum_up(self, seconds: float) -> None:
        requests, failures = (sum(getattr(step, name) for step in self.steps) for name in ("requests", "failures"))
        off = [step.name for step in self.steps if step.is_off]
        shares = f"the share was off at {', '.join(off)}" if off else "every share was as asked"
        words = f"{requests:,} requests in {seconds:.0f} s, {failures:,} failed; {shares}"
        self.show.console.print(words, style="red" if failures or off else "green", highlight=False)


def _found(comparing: Generator[Progress, None, Verdict], begun: float) -> Found:
    while True:
        try:
            next(comparing)
        except StopIteration as end:
            verdict: Verdict = end.value
            rows = sum(table.service_rows for table in verdict.tables)
            return Found(rows=rows, seconds=round(time.monotonic() - begun, 2), equal=verdict.equal)


class _Board:
    """The table of the steps: it grows on a terminal, and stands at the end elsewhere."""

    def __init__(self, guide: Guide, traffic: Traffic) -> None:
        self._guide, self._traffic = guide, traffic
        self._console = guide.show.console
        self.leg: tuple[Leg, Crowd] | None = None
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._last = 0, time.monotonic()

    async def __aenter__(self) -> _Board:
        if self._live:
            self._live.start()
        self._task = asyncio.create_task(self._draw())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._task.cancel()
        if self._live:
            self._live.update(self._table(), refresh=True)
            self._live.stop()
        else:
            self._console.print(self._table(), width=_UNFOLDED)

    def tell(self, step: Step, failures: Sequence[str]) -> None:
        if not self._live:
            self._console.print(f"{step.name}: {step.observed_share:.2%} of {step.visitors:,} visitors, "
                                f"{step.failures:,} failed", highlight=False)  # fmt: skip
        if step.found is not None:
            told = "both sides equal" if step.found.equal else "the two sides differ"
            words = f"  {step.name}: {step.found.rows:,} rows under writes, {told}, {step.found.seconds:.1f} s"
            self._console.print(words, style="dim" if step.found.equal else "red", highlight=False)
        for failure in failures[:_TOLD]:
            self._console.print(f"  {step.name}: {failure}", style="red", markup=False)
        if len(failures) > _TOLD:
            self._console.print(f"  {step.name}: and {len(failures) - _TOLD:,} more", style="red")

    async def _draw(self) -> None:
        while True:
            self._guide.show.heal()
            if self._live:
                self._live.update(self._table(), refresh=True)
            await asyncio.sleep(_DRAW_S)

    def _table(self) -> Table:
        rows = [(_row(step), "") for step in self._guide.steps]
        if self.leg is not None:
            rows.append((self._under_way(*self.leg), "bold"))
        # A narrow terminal shows what decides.
        shown = [name not in _LEFT_OUT or not self._is_narrow for name in _COLUMNS]
        table = Table(box=None, header_style="bold", pad_edge=False)
        for name in compress(_COLUMNS, shown):
            table.add_column(name, justify="left" if name in ("step", "") else "right", no_wrap=True)
        for row, style in rows:
            table.add_row(*compress(row, shown), style=style)
        return table

    @property
    def _is_narrow(self) -> bool:
        return self._live is not None and self._console.width < _UNFOLDED

    def _under_way(self, leg: Leg, crowd: Crowd) -> list[str]:
        self._guide._tally.read()
        found = self._guide._tally.of_crowd(crowd.number)
        counts = {stack: sum(stacks.count(stack) for stacks in found.values()) for stack in Stack}
        answered = sum(counts.values())
        observed = f"{counts[Stack.SERVICE] / answered:.2%}" if answered else ""
        return [
            leg.name, f"{leg.asked:.2%}", observed, f"{crowd.gone:,}/{leg.visitors:,}", f"{crowd.requests:,}",
            f"{counts[Stack.MONOLITH]:,}", f"{counts[Stack.SERVICE]:,}", str(len(crowd.failures)),
            "", "", "", f"[dim]{self._rate():,.0f}/s[/]",
        ]  # fmt: skip

    def _rate(self) -> float:
        now, requests = time.monotonic(), sum(crowd.requests for crowd in self._traffic.crowds)
        (before, at), self._last = self._last, (requests, now)
        return (requests - before) / max(now - at, _LOOK_S)


_COLUMNS: Final = (
    "step", "asked", "observed", "visitors", "requests", "monolith", "service", "failed",
    "p50 ms", "p99 ms", "ack ms", "",
)  # fmt: skip


_LEFT_OUT: Final = {"asked", "requests", "p50 ms"}
_UNFOLDED: Final = 104  # columns that the whole table takes


def _row(step: Step) -> list[str]:
    return [
        step.name, f"{step.asked_share:.2%}", f"{step.observed_share:.2%}", f"{step.visitors:,}",
        f"{step.requests:,}", f"{step.by_stack[Stack.MONOLITH]:,}", f"{step.by_stack[Stack.SERVICE]:,}",
        str(step.failures), f"{step.p50_ms:.1f}", f"{step.p99_ms:.1f}", f"{step.ack_ms:.1f}",
        "[green]✓[/]" if step.holds else "[red]✗[/]",
    ]  # fmt: skip


def _refuse_strange(tour: Tour, project: Project) -> None:
    files = project.capabilities.get(tour.capability)
    if files is None:
        known = ", ".join(project.capabilities) or "none yet"
        raise ProjectInvalid((_problem("capability", tour.capability, f"a capability (there: {known})"),))
    cohorts = [each.name for each in files.cohorts]
    if tour.cohort not in cohorts:
        wanted = f"a cohort of {files.name} (there: {', '.join(cohorts) or 'none yet'})"
        raise ProjectInvalid((_problem("cohort", tour.cohort, wanted),))


def _problem(key: str, found: str, wanted: str) -> Problem:
    return Problem(file="demo.toml", key=f"[tour] {key}", found=repr(found), wanted=wanted)
