"""One run: started, told of, kept up, and stopped, whatever happened in between."""

from __future__ import annotations

import getpass
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rich.console import Console

from strangler.demo.family import Family, together
from strangler.demo.folder import LOCAL_ENV_FILE, Folder
from strangler.demo.pulse import Pulse
from strangler.demo.script import Script, Setting
from strangler.demo.stage import SECRET, Stage
from strangler.demo.start import Start
from strangler.demo.view import Line, Poster, Steps
from strangler.project import Project

_TICK_S: Final = 0.25
_LOOK_S: Final = 1.0
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What is raised while Python calls a finaliser is told on standard error and lost: it comes again until it has arrived.
_AGAIN_S: Final = 2.0


class Stopped(KeyboardInterrupt):
    """A signal asked for the end."""


@dataclass(slots=True, kw_only=True)
class Show:
    """A family in the folder of ``project_file``, where demo.toml may stand too."""

    project_file: Path
    port_base: int
    console: Console
    family: Family = field(default_factory=Family, init=False)
    stopping: bool = field(default=False, init=False)
    ending: bool = field(default=False, init=False)
    started: float = field(default_factory=time.monotonic, init=False)

    @property
    def folder(self) -> Folder:
        return Folder(self.project_file.parent / ".local")

    @contextmanager
    def running(self, *, reset: bool = False) -> Iterator[tuple[Project, Script]]:
        """Start everything that demo.toml names, and stop it at the end.

        Raises ``FolderTaken`` and what ``Start.everything`` raises; what was started by then is stopped.
        """
        folder = self.folder
        folder.hold()
        if reset:
            folder.reset()
        with self._stopped_at_the_end():
            with Steps(self.console) as steps:
                found = self._start(folder, steps).everything(self.port_base)
            yield found

    @contextmanager
    def up(self, project: Project) -> Iterator[None]:
        """Bring the files into force and run the toolkit's own processes beside stacks that run already."""
        with self._stopped_at_the_end():
            with Steps(self.console) as steps:
                together(self._start(self.folder, steps).toolkit(project, who=who_runs(), reason="started"))
            yield

    @contextmanager
    def engines(self, setting: Setting) -> Iterator[tuple[Path, list[str]]]:
        """Run the engines alone, and yield the variables that tell where they are, and the file that has their values.

        Raises ``FolderTaken``, ``PortTaken``, ``EngineError`` or ``ChildFailed``.
        """
        folder = Folder(self.folder.path, env_file=LOCAL_ENV_FILE)
        folder.hold()
        # What the environment names is no reason to start nothing: it is what an earlier run wrote, as a rule.
        stage = Stage(folder=folder, setting=setting, port_base=self.port_base, outside={})
        with self._stopped_at_the_end():
            stage.refuse_taken()
            with Steps(self.console) as steps:
                self._start(folder, steps).engines(stage)
            names = [name for name in sorted(stage.variables) if name.endswith("_URL") or name == SECRET]
            yield folder.env_path, names

    def wait(self) -> None:
        """Keep what was started up until a signal comes."""
        while True:
            self.heal()
            time.sleep(_TICK_S)

    def tell(self, hints: Sequence[tuple[str, str]]) -> None:
        """Print what runs where, and what to try."""
        members = sorted(self.family.members, key=lambda member: -member.wave)
        address = next((member.address for member in members if member.name == "proxy"), "")
        Poster(
            members=members,
            hints=hints,
            root=self.project_file.parent,
            address=address,
            seconds=time.monotonic() - self.started,
        ).print(self.console)

    def stay(self, project: Project) -> None:
        """Keep the family up, with a live line, until a signal comes."""
        with closing(Pulse(project)) as pulse, Line(self.console) as line:
            looked = 0.0
            while True:
                self.family.heal(line.say)
                if time.monotonic() - looked > _LOOK_S:
                    looked = time.monotonic()
                    line.show(pulse.standing(), pulse.flow())
                time.sleep(_TICK_S)

    def heal(self) -> None:
        """Start again what ended, and say so."""
        self.family.heal(lambda event: self.console.print(event, style="yellow", markup=False))

    def _start(self, folder: Folder, steps: Steps) -> Start:
        return Start(project_file=self.project_file, folder=folder, family=self.family, steps=steps)

    @contextmanager
    def _stopped_at_the_end(self) -> Iterator[None]:
        previous = {number: signal.signal(number, self._on_signal) for number in _ENDING}
        previous[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._on_alarm)
        try:
            yield
        finally:
            self.stopping = self.ending = True
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._stop()
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _stop(self) -> None:
        begun = time.monotonic()
        if self.family.members:
            with self.console.status("stopping: the proxy drains, then the stacks, then the engines"):
                self.family.stop()
            seconds = time.monotonic() - begun
            self.console.print(f"everything that was started has stopped ({seconds:.1f} s); the data is kept")

    def _on_signal(self, number: int, frame: object) -> None:
        if self.stopping:
            self.family.hurry = True  # asked twice: nothing is waited for, and still nothing is left behind
            return
        self.stopping = True
        self._raise()

    def _on_alarm(self, number: int, frame: object) -> None:
        if not self.ending:
            self._raise()

    def _raise(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
        raise Stopped


def who_runs() -> str:
    """Return whom the ledger names for what is started by itself."""
    return f"{getpass.getuser()}@{socket.gethostname()}"
