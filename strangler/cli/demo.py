"""``demo``: both stacks, the engines and the toolkit on this machine, from demo.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strangler.cli.shell import Failure, err, out, shell


def demo(
    context: typer.Context,
    port_base: Annotated[
        int, typer.Option("--port-base", min=1024, max=64_000, help="The first of the family's ports.")
    ] = 8000,
    reset: Annotated[bool, typer.Option("--reset", help="Forget what earlier runs kept, and start anew.")] = False,
    tour: Annotated[bool, typer.Option("--tour", help="Walk a capability through all steps under traffic.")] = False,
    visitors: Annotated[
        int, typer.Option("--visitors", min=100, help="Distinct visitors a step of the tour.")
    ] = 20_000,
    leave: Annotated[bool, typer.Option("--exit", help="Leave after the tour, non-zero when anything failed.")] = False,
    report: Annotated[Path | None, typer.Option("--report", help="Write the tour's figures here, as JSON.")] = None,
) -> None:
    """Start everything that demo.toml names, and stay until Ctrl-C."""
    if not tour and (leave or report):
        raise typer.BadParameter("--exit and --report are about the tour; say --tour, too")
    try:
        from strangler.demo.family import ChildFailed
        from strangler.demo.folder import FolderTaken
        from strangler.demo.show import Show, Stopped
        from strangler.demo.tour import Guide
        from strangler.local import EngineError
    except ImportError as exc:
        raise Failure(f"the demo wants more: pip install 'strangler[local,jobs,proxy]' ({exc})") from exc
    file = shell(context).project_file.parent / "demo.toml"
    if not file.exists():
        raise Failure(f"there is no {file}; run it in a clone of the repository, or write one (docs/reference/demo.md)")
    show = Show(project_file=shell(context).project_file.resolve(), port_base=port_base, console=out)
    good = None if tour else True
    try:
        with show.running(reset=reset) as (project, script):
            show.tell(script.hints)
            if tour:
                if script.tour is None:
                    raise Failure("demo.toml has no [tour]")
                guide = Guide(
                    show=show, project=project, tour=script.tour, visitors=visitors, processes=script.processes
                )
                good = guide.walk(report)
            if not (tour and leave):
                show.stay(project)
    except Stopped:
        pass
    except (FolderTaken, EngineError, ChildFailed) as exc:
        raise Failure(str(exc)) from exc
    if not good:
        how = "was broken off" if good is None else "did not hold; see above"
        err.print(f"[red]strangler:[/] the tour {how}")
        raise typer.Exit(1)
