"""What every verb shares: the project, the person, and how numbers and failures are said."""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from strangler.capability import WHOLE, Data, Phase, Stack, Stage, State
from strangler.project import CapabilityFiles, Project, ProjectInvalid, load

# A pipe has no width; tables are made for a wide page then, and sentences are not broken.
_PIPED: Final = None if sys.stdout.isatty() else 140
out: Final = Console(highlight=False, width=_PIPED)
err: Final = Console(stderr=True, highlight=False)

_PERCENT: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,2})?)\s*%")
_DURATION: Final = re.compile(r"([0-9]{1,6})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Shell:
    """What was said before the verb."""

    project_file: Path

    def project(self) -> Project:
        """Load the project. Raises ``ProjectInvalid``."""
        return load(self.project_file)


def shell(context: typer.Context) -> Shell:
    found = context.find_object(Shell)
    assert found is not None  # noqa: S101  # the root callback always leaves one
    return found


class Failure(Exception):
    """A verb could not do what was asked; the message is the sentence that the person reads."""


def files_of(project: Project, capability: str) -> CapabilityFiles:
    """Return the files of a capability. Raises ``Failure`` naming those that there are."""
    files = project.capabilities.get(capability)
    if files is None:
        known = ", ".join(project.capabilities) or "none yet"
        raise Failure(f"there is no capability named {capability!r}; there: {known}")
    return files


def complain(exc: Exception) -> None:
    """Say on standard error what failed: a plain sentence, or one for each problem of the project's files."""
    for problem in exc.problems if isinstance(exc, ProjectInvalid) else [exc]:
        err.print("[red]strangler:[/]", end=" ")
        err.print(str(problem), markup=False, soft_wrap=True)


@contextmanager
def until_interrupted() -> Iterator[None]:
    """Let Ctrl-C end what is inside: it is how one leaves what is watched, and no failure."""
    with suppress(KeyboardInterrupt):
        yield


def who() -> str:
    """Return who is acting, for the ledger: ``$STRANGLER_WHO``, else user@host."""
    return os.environ.get("STRANGLER_WHO") or f"{getpass.getuser()}@{socket.gethostname()}"


def parse_share(text: str) -> int:
    """Return a share such as "25%" or "0.25 %" in basis points."""
    match = _PERCENT.fullmatch(text.strip())
    share = int(Decimal(match[1]) * 100) if match else -1
    if not 0 <= share <= WHOLE:
        raise typer.BadParameter(f"{text!r} is not a share; say it in percent, as in 25% or 0.25%")
    return share


def show_share(share: int) -> str:
    """Return a share of basis points as people read it: "25 %", "0.25 %"."""
    return f"{Decimal(share) / 100:f} %"


def parse_duration(text: str) -> int:
    """Return a duration such as "30m" in seconds."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a duration; say 90s, 30m, 8h or 7d")
    return int(match[1]) * _SECONDS[match[2]]


def parse_cohort(text: str) -> tuple[str, Stack | None]:
    """Return a cohort and its stack from "beta=service"; "beta=off" takes it out."""
    name, _, stack = text.partition("=")
    if not name or stack not in (*Stack, "off"):
        raise typer.BadParameter(f"{text!r} is not of the form NAME=service, NAME=monolith or NAME=off")
    return name, None if stack == "off" else Stack(stack)


_STAGE_STYLES: Final[Mapping[Stage, str]] = {
    Stage.MONOLITH: "blue",
    Stage.CANARY: "yellow",
    Stage.SERVICE: "green",
    Stage.RETIRED: "dim green",
}


def show_stage(state: State) -> str:
    """Return the stage for a person, or that it is killed."""
    if state.killed is not None:
        return "[bold red]killed[/]"
    return f"[{_STAGE_STYLES.get(state.stage, 'white')}]{state.stage}[/]"


_MOVING: Final[Mapping[Phase, str]] = {
    Phase.PREPARED: "to be the {}",
    Phase.SWITCHED: "not open yet",
    Phase.ABORTING: "going back",
    Phase.FORCED: "by force, not open yet",
}


def show_owner(state: State) -> str:
    """Return the owner for a person, and how far a move of it is that is under way."""
    move = state.moving
    if move is None:
        return str(state.owner)
    return f"{state.owner} [yellow]({_MOVING[move.phase].format(state.owner.other)})[/]"


def show_data(state: State) -> str:
    """Return what the stack that is not the owner holds of the rows, with the time of a snapshot."""
    if state.stage is Stage.RETIRED and state.data is Data.STREAMED:
        return "copied to the monolith"
    if state.data_at is None:
        return "in the service only" if state.owner is Stack.SERVICE else str(state.data)
    return f"{state.data} of {state.data_at.astimezone():%Y-%m-%d %H:%M:%S}"


def print_json(value: Any) -> None:
    """Write ``value`` as JSON, and nothing else, to standard output."""
    typer.echo(json.dumps(value, indent=2, default=str))


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def _said(reason: str) -> str:
    if not reason.strip():
        raise typer.BadParameter("it is empty; say why, in a few words")
    return reason


_WHY: Final = "Why; it goes into the history."
Reason = Annotated[str, typer.Option("--reason", help=_WHY, show_default=False, callback=_said)]
UsualReason = Annotated[str, typer.Option("--reason", help=_WHY, callback=_said)]
"""One that need not be said."""
NoWait = Annotated[bool, typer.Option("--no-wait", help="Return when it is committed, not when proxies route by it.")]


def complete_capability(context: typer.Context, incomplete: str) -> list[str]:
    """Return the capabilities whose names begin so, for the shell's completion; none when there is no project."""
    file = context.find_root().params.get("project") or Path(os.environ.get("STRANGLER_PROJECT", "strangler.toml"))
    try:
        names = list(load(Path(file)).capabilities)
    except ProjectInvalid:
        return []
    return [name for name in names if name.startswith(incomplete)]


CapabilityName = Annotated[
    str,
    typer.Argument(metavar="CAPABILITY", help="The capability's name.", autocompletion=complete_capability),
]
