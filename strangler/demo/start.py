"""The order in which a family comes up: as much at once as each step's needs allow."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from strangler.capability import Data, Stack, State
from strangler.demo.family import Child, Engine, Family, together
from strangler.demo.folder import ENV_FILE, Folder
from strangler.demo.script import Before, Process, Script, read_script, read_setting
from strangler.demo.stage import Stage
from strangler.demo.view import Steps
from strangler.ledger import Publisher
from strangler.project import Problem, Project, ProjectInvalid, load
from strangler.sync.copying import Copying, copy
from strangler.sync.errors import SyncError
from strangler.sync.syncing import Asked, complete, start
from strangler.sync.verify import Verdict

# What a command draws: "products [####...] 1,500/5,000", rewritten with carriage returns.
_COUNTED: Final = re.compile(r"([\d,]+) ?/ ?([\d,]+)\D*$")
_LABEL: Final = re.compile(r"[^\W\d][\w-]*")


@dataclass(slots=True, kw_only=True)
class Start:
    """Brings up what demo.toml names, and the toolkit in front of it."""

    project_file: Path
    folder: Folder
    family: Family
    steps: Steps
    _ready: set[str] = field(default_factory=set, init=False)

    @property
    def root(self) -> Path:
        return self.project_file.parent

    def everything(self, port_base: int) -> tuple[Project, Script]:
        """Start all of it. Raises ``PortTaken``, ``ProjectInvalid``, ``EngineError`` or ``ChildFailed``."""
        script_file = self.root / "demo.toml"
        stage = Stage(folder=self.folder, setting=read_setting(script_file), port_base=port_base)
        stage.refuse_taken()
        self.folder.start_logs()
        self.engines(stage)
        script = read_script(script_file, {**os.environ, **stage.variables, **self._programs()})
        project = self._project(stage)
        lanes = [self._process(process) for process in script.processes]
        toolkit = self.toolkit(project, who="demo", reason="demo started")
        together([*lanes, *toolkit, self._copies(project, script, streamed=stage.setting.streams)])
        return project, script

    def toolkit(self, project: Project, *, who: str, reason: str) -> list[Iterator[None]]:
        """Bring the files into force, and return the lanes of the toolkit's own processes."""
        project.proxy.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.steps.step("routing table in force"), Publisher.open(project) as publisher:
            publisher.enrol(project, who=who, reason=reason, wait_s=None)
        children = [self._jobs(), self._proxy(project)]
        if any(files.tables for files in project.capabilities.values()):
            children.append(self._sync())
        return [self._comes_up(child) for child in children]

    def engines(self, stage: Stage) -> None:
        """Start the engines, and make in them what ``stage`` wants. Raises ``EngineError`` or ``ChildFailed``."""
        postgres = stage.postgres() if stage.own_databases else None
        valkey = stage.valkey() if stage.own_valkey else None
        if postgres is not None:
            with self.steps.step("PostgreSQL"):
                self.family.add(Engine(name="PostgreSQL", server=postgres))
        if valkey is not None:
            with self.steps.step("Valkey"):
                self.family.add(Engine(name="Valkey", server=valkey))
        with self.steps.step("roles and databases"):
            stage.furnish(postgres, valkey)

    def _project(self, stage: Stage) -> Project:
        """Load the project as another terminal will. Raises ``ProjectInvalid`` when that would see something else."""
        project = load(self.project_file)
        if project != load(self.project_file, {**stage.variables, **os.environ}):
            file = f"{self.folder.path.relative_to(self.root)}/{ENV_FILE}"
            raise ProjectInvalid(
                (
                    Problem(
                        file=self.project_file.name,
                        key="env_file",
                        found="another file, or none",
                        wanted=f'"{file}", so that other terminals find what runs here',
                    ),
                )
            )
        return project

    def _process(self, process: Process) -> Iterator[None]:
        for before in process.before:
            words = (*before.command, *process.environment.values())
            if before.once and self.folder.was_done(*words):
                continue
            yield from self._run(process, before)
            self.folder.note_done(*words)
        yield from self._comes_up(
            Child(
                name=process.name,
                command=process.command,
                folder=process.folder,
                environment=process.environment,
                log=self.folder.log(process.name),
                address=process.address,
                ready=process.ready,
            )
        )

    def _run(self, process: Process, before: Before) -> Iterator[None]:
        name = f"{process.name}: {before.says}"
        child = Child(
            name=name,
            command=before.command,
            folder=process.folder,
            environment=process.environment,
            log=self.folder.log(f"{process.name} {before.says}"),
        )
        with self.steps.step(name) as step:
            for _ in self.family.run(child):
                if before.progress and (counted := count(child.log)):
                    step.tell(*counted)
                yield

    def _comes_up(self, child: Child) -> Iterator[None]:
        with self.steps.step(f"{child.name} {'answers' if child.ready else 'started'}"):
            self.family.add(child)
            yield from child.until_ready()
        self._ready.add(child.name)

    def _copies(self, project: Project, script: Script, *, streamed: bool) -> Iterator[None]:
        """Copy the tables of each capability that no service has yet, once everyone whom that needs is there."""
        with Publisher.open(project) as publisher:
            wanting = [name for name, state in publisher.ledger.states().items() if _wants_copy(state)]
            if not wanting:
                return
            while not self._ready.issuperset({process.name for process in script.processes}):
                yield
            for name in wanting:
                if streamed:
                    yield from self._begin_streams(name, project, publisher)
                yield from self._copy(name, project, publisher)
                if streamed:
                    yield from self._compare(name, project, publisher)

    def _begin_streams(self, capability: str, project: Project, publisher: Publisher) -> Iterator[None]:
        if publisher.ledger.state(capability).is_streamed:
            return
        asked = Asked(capability=capability, who="demo", reason="demo: streams begin")
        with self.steps.step(f"{capability}: streams begun"):
            start(asked, project, publisher)
            yield

    def _copy(self, capability: str, project: Project, publisher: Publisher) -> Iterator[None]:
        from strangler.jobs import submitter  # Celery takes a moment to import, and only the first start copies

        asked = Copying(capability=capability, who="demo", reason="demo: first copy", submit=submitter(project))
        with self.steps.step(f"{capability}: rows copied to its service") as step:
            for progress in copy(asked, project, publisher):
                step.tell(progress.rows_done, progress.rows, "rows")
                yield

    def _compare(self, capability: str, project: Project, publisher: Publisher) -> Iterator[None]:
        asked = Asked(capability=capability, who="demo", reason="demo: first copy")
        with self.steps.step(f"{capability}: both sides compared") as step:
            comparing = complete(asked, project, publisher)
            while True:
                try:
                    progress = next(comparing)
                except StopIteration as end:
                    verdict: Verdict = end.value
                    break
                step.tell(progress.rows_done, progress.rows, "rows")
                yield
            if not verdict.equal:
                raise SyncError(f"{capability}: the two sides differ; see strangler sync verify {capability}")

    def _proxy(self, project: Project) -> Child:
        return Child(
            name="proxy",
            command=[sys.executable, "-m", "strangler", "--project", str(self.project_file), "proxy"],
            folder=self.root,
            environment={},
            log=self.folder.log("proxy"),
            address=project.proxy.url,
            ready=f"http://{project.proxy.admin}/health/ready",
            wave=0,  # it stops first: nobody is to find a stack gone behind it
        )

    def _jobs(self) -> Child:
        celery = [sys.executable, "-m", "celery", "--app", "strangler.jobs:celery_app", "worker", "--beat"]
        return Child(
            name="jobs",
            command=[*celery, "--concurrency", "2", "--loglevel", "warning", "--without-gossip", "--without-mingle"],
            folder=self.root,
            environment={"STRANGLER_PROJECT": str(self.project_file)},
            log=self.folder.log("jobs"),
            address="Celery worker and beat",
        )

    def _sync(self) -> Child:
        return Child(
            name="sync",
            command=[sys.executable, "-m", "strangler", "--project", str(self.project_file), "sync", "run"],
            folder=self.root,
            environment={},
            log=self.folder.log("sync"),
            address="streams between the databases",
        )

    def _programs(self) -> dict[str, str]:
        script = Path(sys.executable).parent / "strangler"
        with suppress(ValueError):
            script = script.relative_to(Path.cwd())
        here = self.project_file == (Path.cwd() / "strangler.toml").resolve()
        verb = str(script) if here else f"{script} --project {self.project_file}"
        return {"PYTHON": sys.executable, "STRANGLER": verb, "LOCAL": str(self.folder.path)}


def count(log: Path) -> tuple[int, int, str] | None:
    """Return how much of what a command says that it has done: the last "N/M" in its log, None before the first."""
    with suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 500))
        for line in reversed(file.read().decode(errors="replace").replace("\r", "\n").splitlines()):
            if match := _COUNTED.search(line):
                label = _LABEL.match(line)
                return _number(match[1]), _number(match[2]), label[0] if label else ""
    return None


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def _wants_copy(state: State) -> bool:
    return state.data is Data.ABSENT and state.owner is Stack.MONOLITH
