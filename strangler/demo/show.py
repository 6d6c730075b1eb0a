"""Starting everything, telling what runs where, and staying until somebody ends it."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from strangler.capability import Data, State
from strangler.demo.family import Child, Family, await_ready, run_once
from strangler.demo.script import Process, Script, read_script, read_setting
from strangler.demo.stage import Stage
from strangler.ledger import LedgerError, Publisher
from strangler.project import Project, load

_TICK_S: Final = 0.25
_STATUS_S: Final = 1.0


@dataclass(slots=True, kw_only=True)
class Show:
    """One run of the demo, in ``root``, where strangler.toml and demo.toml are."""

    project_file: Path
    port_base: int
    console: Console
    family: Family = field(default_factory=Family, init=False)
    stopping: bool = field(default=False, init=False)
    started: float = field(default_factory=time.monotonic, init=False)

    @property
    def root(self) -> Path:
        return self.project_file.parent.resolve()

    @property
    def folder(self) -> Path:
        return self.root / ".local"

    @contextmanager
    def running(self) -> Iterator[tuple[Project, Script]]:
        """Start everything that demo.toml names, and stop it at the end, whatever happened in between."""
        with self._stopped_at_the_end():
            yield self._start()

    @contextmanager
    def up(self, project: Project) -> Iterator[None]:
        """Bring the files into force and run the toolkit's own processes beside stacks that run already."""
        with self._stopped_at_the_end():
            self._toolkit(project, who=who_runs(), reason="started")
            yield

    @contextmanager
    def _stopped_at_the_end(self) -> Iterator[None]:
        previous = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            self.stopping = True
            self.console.print("stopping …")
            self.family.stop()
            self.console.print("everything that was started has stopped; the data is kept")
            for number, handler in previous.items():
                signal.signal(number, handler)

    def stay(self, project: Project) -> None:
        """Keep the family running, with a live line, until a signal comes."""
        with Publisher.open(project) as publisher, _Line(self.console) as line:
            looked = 0.0
            counts = _Counts(project)
            while not self.stopping:
                self.family.heal(line.say)
                if time.monotonic() - looked > _STATUS_S:
                    looked = time.monotonic()
                    line.show(_status(publisher, counts))
                time.sleep(_TICK_S)

    def heal(self) -> None:
        self.family.heal(lambda event: self.console.print(event, style="yellow"))

    def reset(self) -> None:
        """Forget everything that earlier runs kept."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> tuple[Project, Script]:
        script_file = self.root / "demo.toml"
        stage = Stage(folder=self.folder, setting=read_setting(script_file), port_base=self.port_base)
        stage.refuse_taken()
        with self._step("PostgreSQL and Valkey"):
            try:
                stage.set()
            finally:
                self.family.postgres, self.family.valkey = stage.postgres, stage.valkey
        script = read_script(script_file, {**os.environ, **stage.variables, **_programs(self.project_file)})
        for process in script.processes:
            with self._step(f"{process.name}: tables and rows"):
                run_once(process.name, [self._once(process, command) for command in process.before])
        with self._step("both stacks"):
            self._bring_up([self._child(process) for process in script.processes])
        project = load(self.project_file)
        for name, state in self._toolkit(project, who="demo", reason="demo started").items():
            if state.data is Data.ABSENT:
                self._backfill(name)
        return project, script

    def _toolkit(self, project: Project, *, who: str, reason: str) -> dict[str, State]:
        project.proxy.state.mkdir(parents=True, exist_ok=True)
        with self._step("routing table"), Publisher.open(project) as publisher:
            publisher.enrol(project, who=who, reason=reason, wait_s=None)
            states = publisher.ledger.states()
        with self._step("proxy and background work"):
            self._bring_up([self._jobs(), self._proxy(project)])
        return states

    def _bring_up(self, children: list[Child]) -> None:
        for child in children:
            self.family.children.append(child)
            child.start()
        await_ready(children)

    @contextmanager
    def _step(self, what: str) -> Iterator[None]:
        begun = time.monotonic()
        with self.console.status(f"{what} …"):
            yield
        self.console.print(f"[green]✓[/] {what} [dim]{time.monotonic() - begun:.1f} s[/]")

    def _child(self, process: Process) -> Child:
        return Child(
            name=process.name,
            command=process.command,
            folder=process.folder,
            environment=process.environment,
            log=self.folder / "log" / f"{process.name}.log",
            address=process.address,
            ready=process.ready,
        )

    def _once(self, process: Process, command: tuple[str, ...]) -> Child:
        log = self.folder / "log" / f"{process.name}.before.log"
        return Child(
            name=process.name, command=command, folder=process.folder, environment=process.environment, log=log
        )

    def _proxy(self, project: Project) -> Child:
        return Child(
            name="proxy",
            command=[*_verb(self.project_file), "proxy"],
            folder=self.root,
            environment={},
            log=self.folder / "log" / "proxy.log",
            address=f"http://{project.proxy.listen[0]}",
            ready=f"http://{project.proxy.admin}/health/ready",
            stop_s=15.0,
        )

    def _jobs(self) -> Child:
        celery = [sys.executable, "-m", "celery", "--app", "strangler.jobs:celery_app", "worker"]
        return Child(
            name="jobs",
            command=[*celery, "--beat", "--concurrency", "2", "--loglevel", "warning", "--without-gossip"],
            folder=self.root,
            environment={"STRANGLER_PROJECT": str(self.project_file)},
            log=self.folder / "log" / "jobs.log",
            address="Celery worker with beat",
        )

    def _backfill(self, capability: str) -> None:
        command = [*_verb(self.project_file), "sync", "backfill", capability, "--reason", "demo: first copy"]
        child = Child(
            name=f"backfill of {capability}",
            command=command,
            folder=self.root,
            environment={},
            log=self.folder / "log" / "backfill.log",
        )
        with self._step(f"{capability}: rows copied to its service"):
            run_once(child.name, [child])

    def _on_signal(self, number: int, frame: object) -> None:
        if self.stopping:
            return  # it is under way; a second Ctrl-C must not leave anything behind
        self.stopping = True
        raise Stopped

    def tell(self, hints: Sequence[tuple[str, str]]) -> None:
        """Print what runs where, and what to try."""
        table = Table(box=None, header_style="bold", pad_edge=False)
        for column in ("what", "where", "pid", "log"):
            table.add_column(column, no_wrap=True)
        for name, engine in (("PostgreSQL", self.family.postgres), ("Valkey", self.family.valkey)):
            if engine is not None and engine.process is not None:
                table.add_row(name, f"127.0.0.1:{engine.port}", str(engine.process.pid), self._short(engine.log))
        for child in self.family.children:
            table.add_row(child.name, child.address, str(child.pid), self._short(child.log))
        self.console.print(Text(), table, Text())
        for command, shows in hints:
            self.console.print(f"  [bold]{command}[/]\n    [dim]{shows}[/]", soft_wrap=True)
        seconds = time.monotonic() - self.started
        self.console.print(f"\nready after {seconds:.1f} s; Ctrl-C stops everything that was started\n")

    def _short(self, path: Path) -> str:
        return str(path.relative_to(self.root))


def who_runs() -> str:
    """Return whom the ledger names for what is started by itself."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


class Stopped(KeyboardInterrupt):
    """A signal asked the demo to end."""


def _verb(project_file: Path) -> list[str]:
    return [sys.executable, "-m", "strangler", "--project", str(project_file)]


def _programs(project_file: Path) -> dict[str, str]:
    beside = Path(sys.executable).parent / "strangler"
    script = str(beside)
    with suppress(ValueError):
        script = str(beside.relative_to(Path.cwd()))
    usual = project_file.resolve() == (Path.cwd() / "strangler.toml").resolve()
    return {"PYTHON": sys.executable, "STRANGLER": script if usual else f"{script} --project {project_file}"}


class _Counts:
    """Requests a second by stack, from the proxy's own metrics."""

    def __init__(self, project: Project) -> None:
        self._url = f"http://{project.proxy.admin}/metrics"
        self._last: dict[str, float] = {}
        self._at = time.monotonic()

    def rates(self) -> dict[str, float]:
        """Return the rates since the last call; empty while the proxy does not answer."""
        try:
            text = httpx.get(self._url, timeout=1.0).text
        except httpx.HTTPError:
            return {}
        now, counts = time.monotonic(), _by_stack(text)
        seconds, last = now - self._at, self._last
        self._at, self._last = now, counts
        return {stack: max(0.0, count - last.get(stack, count)) / seconds for stack, count in counts.items()}


def _by_stack(metrics: str) -> dict[str, float]:
    counts: dict[str, float] = {}
    for line in metrics.splitlines():
        if line.startswith("strangler_proxy_requests_total{"):
            stack = line.partition('stack="')[2].partition('"')[0]
            counts[stack] = counts.get(stack, 0.0) + float(line.rpartition(" ")[2])
    return counts


def _status(publisher: Publisher, counts: _Counts) -> str:
    rates = "  ".join(f"{stack} {rate:,.0f}/s" for stack, rate in sorted(counts.rates().items()) if stack)
    try:
        states = "  ".join(_said(name, state) for name, state in publisher.ledger.states().items())
    except LedgerError as exc:
        states = f"[red]{exc}[/]"
    return f"{states}   [dim]{rates}[/]"


def _said(name: str, state: State) -> str:
    where = "[red]killed[/]" if state.killed is not None else f"{state.share / 100:g} % on the service"
    return f"[bold]{name}[/] {where}"


class _Line:
    """One line that is rewritten on a terminal, and written only when it changes elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(Text(), console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._last = ""

    def __enter__(self) -> _Line:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, text: str) -> None:
        if self._live:
            self._live.update(Text.from_markup(text), refresh=True)
        elif text.partition("   ")[0] != self._last:
            self._last = text.partition("   ")[0]
            self._console.print(self._last)

    def say(self, event: str) -> None:
        self._console.print(event, style="yellow", markup=False)
