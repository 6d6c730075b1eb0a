"""``proxy`` and ``up``: the processes that a team runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from strangler.cli.shell import Failure, err, out, shell
from strangler.project import Project, ProjectInvalid, load

_ORIGIN = "http://HOST:PORT"


def proxy(
    context: typer.Context,
    origin: Annotated[
        str | None, typer.Option("--origin", help="Only this monolith: no project, no database.", metavar=_ORIGIN)
    ] = None,
    listen: Annotated[
        str, typer.Option("--listen", help="With --origin: where to listen.", metavar="HOST:PORT")
    ] = "127.0.0.1:8000",
    admin: Annotated[
        str, typer.Option("--admin", help="With --origin: where metrics and health answer.", metavar="HOST:PORT")
    ] = "127.0.0.1:8900",
    workers: Annotated[int, typer.Option("--workers", help="With --origin: processes.", min=1, max=64)] = 2,
    takeover: Annotated[
        bool, typer.Option("--takeover", help="Take over from the proxy that runs, refusing nobody.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Try the configuration, and serve nothing.")] = False,
) -> None:
    """Run the routing proxy in the foreground."""
    try:
        from strangler_proxy.check import problems
        from strangler_proxy.main import serve, serve_origin
    except ImportError as exc:
        raise Failure("the proxy is not installed; run: pip install 'strangler[proxy]'") from exc
    if origin is not None and (takeover or check):
        raise Failure("--takeover and --check want a project, and --origin is for when there is none")
    if check:
        raise typer.Exit(_checked(context, problems))
    if origin is not None:
        raise typer.Exit(serve_origin(origin=origin, listen=[listen], admin=admin, workers=workers))
    file = shell(context).project_file.resolve()
    if not file.exists():
        wanted = "for a first look none is wanted: strangler proxy --origin http://127.0.0.1:8001, or where yours is"
        raise Failure(
            f"there is no {shell(context).project_file}; name it with strangler --project FILE proxy. Or {wanted}"
        )
    raise typer.Exit(serve(shell(context).project(), again=lambda: load(file), takeover=takeover))


def _checked(context: typer.Context, problems: Callable[[Project], list[str]]) -> int:
    """Say every problem and return 2, or what would be served and return 0."""
    try:
        project = shell(context).project()
        found = problems(project)
    except ProjectInvalid as exc:
        found = [str(problem) for problem in exc.problems]
    for problem in found:
        err.print(f"strangler proxy: {problem}", markup=False, soft_wrap=True)
    if found:
        return 2
    proxy = project.proxy
    places = f"{', '.join(proxy.listen)} (admin {proxy.admin})"
    out.print(f"strangler proxy: {proxy.workers} workers would listen on {places}", markup=False, soft_wrap=True)
    return 0


def up(context: typer.Context) -> None:
    """Bring the files into force, then run the proxy, the background worker and the streams, until Ctrl-C."""
    project_file = shell(context).project_file.resolve()
    project = shell(context).project()
    try:
        from strangler.demo.family import ChildFailed
        from strangler.demo.show import Show, Stopped
    except ImportError as exc:
        raise Failure(f"this wants more: pip install 'strangler[jobs,proxy]' ({exc})") from exc
    show = Show(project_file=project_file, port_base=0, console=out)
    try:
        with show.up(project):
            show.tell([])
            show.stay(project)
    except Stopped:
        pass
    except ChildFailed as exc:
        raise Failure(str(exc)) from exc
