"""A capability walked through every step under steady traffic, and what the stacks' own logs say of it.

Each visitor is a new client. Some keep the cookie that they get and come back with it; some are API clients, known by
their credential. While a share splits readers, the bucket of every visitor is known from its cookie or credential, so
the requests that each stack must have answered are known too, one by one, and not only on average.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from http.cookiejar import DefaultCookiePolicy
from math import sqrt
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

import httpx
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from strangler.capability import WHOLE, Clear, Command, Kill, SetReads, Stack
from strangler.demo.script import Process, Tour
from strangler.demo.show import Show
from strangler.ledger import Change, Publisher
from strangler.project import Project
from strangler.routing.bucket import bucket

# Enough to keep two stacks busy on two cores; more only measures the queue.
_CLIENTS: Final = 12
_API_CLIENTS: Final = 0.1  # of the visitors
_RETURNING: Final = 0.1  # of the others
_OTHERS: Final = 0.02  # requests of other capabilities, a visitor
_IN_COHORT: Final = 0.25  # of the visitors, in the cohort's step
_OFF: Final = 0.01  # one point, where the visitors are many enough for chance to stay within it
_MANY: Final = 20_000
_LOG_S: Final = 10.0
_COOKIE: Final = "strangler_visitor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One step: what is commanded, the share it asks for, and how many visitors come."""

    name: str
    command: Command
    share: int
    visitors: int
    cohort: bool = False


@dataclass(slots=True, kw_only=True)
class Seen:
    """What the visitors of one step saw. ``on_service``: requests that are the service's by visitor."""

    requests: int = 0
    others: int = 0
    visitors: int = 0
    on_service: int = 0
    failures: list[str] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The figures of one step, as the report has them; shares are fractions of 1."""

    name: str
    asked_share: float
    observed_share: float
    requests: int
    visitors: int
    by_stack: Mapping[str, int]
    expected_by_bucket: int
    failures: int
    p50_ms: float
    p99_ms: float
    ack_ms: float

    @property
    def holds(self) -> bool:
        """Whether no request failed, the share is within a point, and every visitor was where its bucket says."""
        return (
            not self.failures
            and abs(self.observed_share - self.asked_share) <= off_by(self.asked_share, self.visitors)
            and self.by_stack[Stack.SERVICE] == self.expected_by_bucket
        )


@dataclass(slots=True, kw_only=True)
class Guide:
    """Leads the visitors of ``show`` through the steps."""

    show: Show
    project: Project
    tour: Tour
    visitors: int
    logs: Mapping[str, Path] = field(default_factory=dict)

    def walk(self, report: Path | None) -> bool:
        """Walk all steps, print them, write ``report``; return whether every step held."""
        with Publisher.open(self.project) as publisher:
            steps = [self._step(leg, publisher) for leg in self._legs(publisher)]
        self._print(steps)
        if report is not None:
            report.write_text(json.dumps(_plain(steps), indent=2) + "\n")
        return all(step.holds for step in steps)

    def _legs(self, publisher: Publisher) -> Iterator[Leg]:
        few = max(100, self.visitors // 10)
        if publisher.ledger.state(self.tour.capability).killed is not None:
            yield Leg(name="cleared", command=Clear(), share=0, visitors=0)
        cohort = {self.tour.cohort: Stack.SERVICE}
        yield Leg(name="0 %", command=_set(0, {self.tour.cohort: None}), share=0, visitors=self.visitors)
        yield Leg(name="10 %", command=_set(1_000), share=1_000, visitors=self.visitors)
        yield Leg(name="cohort", command=_set(1_000, cohort), share=1_000, visitors=self.visitors, cohort=True)
        yield Leg(name="50 %", command=_set(5_000, {self.tour.cohort: None}), share=5_000, visitors=self.visitors)
        yield Leg(name="100 %", command=_set(WHOLE), share=WHOLE, visitors=self.visitors)
        yield Leg(name="killed", command=Kill(reason="tour: the kill switch"), share=0, visitors=few)
        yield Leg(name="cleared", command=Clear(), share=0, visitors=few)

    def _step(self, leg: Leg, publisher: Publisher) -> Step:
        _, acknowledgement = publisher.change(
            Change(capability=self.tour.capability, command=leg.command, who="tour", reason=f"tour: {leg.name}"),
            self.project,
        )
        marks = self._marks()
        seen = asyncio.run(self._visit(leg))
        by_stack = self._counted(marks, seen.requests)
        answered = sum(by_stack.values()) or 1
        cuts = quantiles(seen.milliseconds, n=100) if len(seen.milliseconds) > 1 else [0.0] * 99
        step = Step(
            name=leg.name,
            asked_share=_asked(leg),
            observed_share=by_stack[Stack.SERVICE] / answered,
            requests=seen.requests + seen.others,
            visitors=seen.visitors,
            by_stack=by_stack,
            expected_by_bucket=seen.on_service,
            failures=len(seen.failures),
            p50_ms=round(cuts[49], 2),
            p99_ms=round(cuts[98], 2),
            ack_ms=round(acknowledgement.ms, 2),
        )
        for failure in seen.failures[:5]:
            self.show.console.print(f"  {leg.name}: {failure}", style="red", markup=False)
        return step

    async def _visit(self, leg: Leg) -> Seen:
        seen, numbers = Seen(), iter(range(leg.visitors))
        limits = httpx.Limits(max_connections=_CLIENTS, max_keepalive_connections=_CLIENTS)
        base = f"http://{self.project.proxy.listen[0]}"
        bar = Progress(
            TextColumn(f"{leg.name:>8}"), BarColumn(), MofNCompleteColumn(), TextColumn("visitors"),
            console=self.show.console, transient=True,
        )  # fmt: skip
        with bar:
            task = bar.add_task(leg.name, total=leg.visitors)
            async with httpx.AsyncClient(base_url=base, limits=limits, timeout=30.0) as client:
                client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # every visitor is a new one
                await asyncio.gather(
                    *(self._walk_in(leg, client, numbers, seen) for _ in range(_CLIENTS)),
                    self._watch(leg, seen, bar, task),
                )
        return seen

    async def _watch(self, leg: Leg, seen: Seen, bar: Progress, task: Any) -> None:
        while seen.visitors < leg.visitors:
            bar.update(task, completed=seen.visitors)
            self.show.heal()
            await asyncio.sleep(0.2)

    async def _walk_in(self, leg: Leg, client: httpx.AsyncClient, numbers: Iterator[int], seen: Seen) -> None:
        for number in numbers:
            chance = random.Random(f"{leg.name} {number}")  # noqa: S311  # repeatable, no secret
            await self._one_visitor(leg, client, chance, seen)
            seen.visitors += 1

    async def _one_visitor(self, leg: Leg, client: httpx.AsyncClient, chance: random.Random, seen: Seen) -> None:
        headers: dict[str, str] = {}
        credential = ""
        if chance.random() < _API_CLIENTS:
            credential = f"Tour {chance.getrandbits(128):032x}"
            headers["Authorization"] = credential
        if leg.cohort and chance.random() < _IN_COHORT:
            headers[self.tour.cohort_header[0]] = self.tour.cohort_header[1]
        in_cohort = self.tour.cohort_header[0] in headers
        token = await self._get(client, chance.choice(self.tour.paths), headers, seen)
        visits = 1
        if token and chance.random() < _RETURNING:
            visits = 2
            await self._get(client, chance.choice(self.tour.paths), {**headers, "Cookie": f"{_COOKIE}={token}"}, seen)
        seen.requests += visits
        visitor = sha256(credential.encode()).hexdigest() if credential else token.partition(".")[0]
        if in_cohort or leg.share == WHOLE or (visitor and bucket(self.tour.capability, visitor) < leg.share):
            seen.on_service += visits
        if self.tour.others and chance.random() < _OTHERS:
            await self._get(client, chance.choice(self.tour.others), {}, seen)
            seen.others += 1

    async def _get(self, client: httpx.AsyncClient, path: str, headers: dict[str, str], seen: Seen) -> str:
        """Request ``path`` and return the visitor's token that it set, mostly none."""
        begun = time.monotonic()
        try:
            response = await client.get(path, headers=headers)
        except httpx.HTTPError as exc:
            seen.failures.append(f"{path}: {type(exc).__name__} {exc}")
            return ""
        seen.milliseconds.append((time.monotonic() - begun) * 1_000)
        if response.status_code != httpx.codes.OK:
            seen.failures.append(f"{path}: status {response.status_code}")
        return response.cookies.get(_COOKIE) or ""

    def _marks(self) -> dict[str, int]:
        return {name: path.stat().st_size if path.exists() else 0 for name, path in self.logs.items()}

    def _counted(self, marks: Mapping[str, int], requests: int) -> dict[str, int]:
        """Return the requests that each stack has logged since ``marks``; waits for lines still on their way."""
        deadline = time.monotonic() + _LOG_S
        while True:
            counts = {name: self._lines(name, marks[name]) for name in self.logs}
            if sum(counts.values()) >= requests or time.monotonic() > deadline:
                service = sum(count for name, count in counts.items() if name != Stack.MONOLITH)
                return {Stack.MONOLITH: counts.get(Stack.MONOLITH, 0), Stack.SERVICE: service}
            time.sleep(0.05)

    def _lines(self, name: str, mark: int) -> int:
        if not self.logs[name].exists():
            return 0
        with self.logs[name].open("rb") as log:
            log.seek(mark)
            return log.read().count(self.tour.counted[name].encode())

    def _print(self, steps: list[Step]) -> None:
        table = Table(box=None, header_style="bold", pad_edge=False)
        for column in ("step", "asked", "observed", "visitors", "requests", "monolith", "service", "failed",
                       "p50 ms", "p99 ms", "ack ms", ""):  # fmt: skip
            table.add_column(column, justify="left" if column in ("step", "") else "right", no_wrap=True)
        for step in steps:
            table.add_row(
                step.name, f"{step.asked_share:.2%}", f"{step.observed_share:.2%}", f"{step.visitors:,}",
                f"{step.requests:,}", f"{step.by_stack[Stack.MONOLITH]:,}", f"{step.by_stack[Stack.SERVICE]:,}",
                str(step.failures), f"{step.p50_ms:.1f}", f"{step.p99_ms:.1f}", f"{step.ack_ms:.1f}",
                "[green]✓[/]" if step.holds else "[red]✗[/]",
            )  # fmt: skip
        self.show.console.print(table)


def off_by(share: float, visitors: int) -> float:
    """Return how far an observed share may be off: a point, or four standard deviations where visitors are few."""
    if visitors >= _MANY or not visitors:
        return _OFF
    return max(_OFF, 4 * sqrt(share * (1 - share) / visitors))


def logs_of(processes: tuple[Process, ...]) -> dict[str, Path]:
    """Return the access log of each process that keeps one."""
    return {process.name: process.access_log for process in processes if process.access_log is not None}


def _set(share: int, cohorts: Mapping[str, Stack | None] | None = None) -> SetReads:
    return SetReads(share=share, cohorts=cohorts or {}, allow_stale=True)


def _asked(leg: Leg) -> float:
    share = leg.share / WHOLE
    return share + (1 - share) * _IN_COHORT if leg.cohort else share


def _plain(steps: list[Step]) -> dict[str, Any]:
    return {
        "steps": [asdict(step) for step in steps],
        "requests": sum(step.requests for step in steps),
        "failures": sum(step.failures for step in steps),
    }
