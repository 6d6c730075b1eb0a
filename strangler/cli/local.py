"""``local``: PostgreSQL and Valkey for a project on a laptop, with the databases and roles that a move wants."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strangler.cli.shell import Failure, out, shell


def local(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="The databases; one for the ledger comes along.")],
    port_base: Annotated[
        int, typer.Option("--port-base", min=1024, max=64_000, help="PostgreSQL is at 432 above it, Valkey at 379.")
    ] = 8000,
) -> None:
    """Run PostgreSQL and Valkey out of wheels, with these databases, and stay until Ctrl-C."""
    try:
        from strangler.demo.databases import setting
        from strangler.demo.family import ChildFailed
        from strangler.demo.folder import FolderTaken
        from strangler.demo.show import Show, Stopped
        from strangler.local import EngineError
    except ImportError as exc:
        raise Failure(f"this wants more: pip install 'strangler[local,jobs,proxy]' ({exc})") from exc
    show = Show(project_file=shell(context).project_file.resolve(), port_base=port_base, console=out)
    try:
        with show.engines(setting(names)) as (file, variables):
            _tell(file.relative_to(show.project_file.parent), variables)
            show.wait()
    except Stopped:
        pass
    except (FolderTaken, EngineError, ChildFailed) as exc:
        raise Failure(str(exc)) from exc


def _tell(file: Path, variables: list[str]) -> None:
    for line in (
        f"\n{file} has {', '.join(variables)}",
        f"in a shell: set -a; . {file}; set +a",
        "Ctrl-C stops both and keeps the data.",
    ):
        out.print(line, markup=False, highlight=False, soft_wrap=True)
