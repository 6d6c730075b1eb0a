"""``sync start``, ``run``, ``status`` and ``remove``: the streams between the monolith's tables and a service's."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Final

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from strangler.capability import Data, Stack, Stage, State
from strangler.cli.shell import (
    AsJson,
    CapabilityName,
    Failure,
    Reason,
    complete_capability,
    err,
    files_of,
    out,
    print_json,
    shell,
    show_share,
    show_stage,
    until_interrupted,
    who,
)
from strangler.cutover.watching import Watching
from strangler.ledger import Publisher
from strangler.project import Project
from strangler.project.values import printable
from strangler.sync import running, syncing
from strangler.sync.holding import Key
from strangler.sync.status import FRESH_S, Status, Sync, status
from strangler.sync.telling import duration, size
from strangler.sync.verdicts import Kept
from strangler.sync.way_back import Gate, WayBack, misfenced, way_back

_REFRESH_S: Final = 1.0


def start(
    context: typer.Context,
    capability: CapabilityName,
    reason: Reason,
    replace: Annotated[bool, typer.Option("--replace", help="Empty the service's tables first.")] = False,
) -> None:
    """Begin a capability's streams both ways: from now on every change of its tables is kept until it is applied."""
    project = shell(context).project()
    files_of(project, capability)
    asked = syncing.Asked(capability=capability, who=who(), reason=reason)
    with Publisher.open(project) as publisher:
        syncing.start(asked, project, publisher, replace=replace)
    out.print(f"{capability}: its streams have begun, and the monolith's server keeps what is written from now on.")
    out.print("  strangler sync run", "[dim]applies it, for all capabilities; keep it running[/]")
    out.print(f"  strangler sync backfill {capability}", "[dim]copies what is there, and compares[/]")


def run(context: typer.Context) -> None:
    """Apply every stream that was begun, until Ctrl-C; while another process does, stand by."""
    project = shell(context).project()
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    running.tune()
    with _telling(project):
        out.print("strangler sync: running, until Ctrl-C")
        watching = Watching(project, _told)
        running.run(project, lambda: not over.is_set(), _told, lambda _: watching.look())


def _told(words: str) -> None:
    err.print(words, markup=False, soft_wrap=True)


@contextmanager
def _telling(project: Project) -> Iterator[None]:
    """Answer Prometheus meanwhile, where the project says so."""
    if not project.sync.metrics:
        yield
        return
    try:
        from strangler.sync.metrics import serve
    except ImportError as exc:
        raise Failure("[sync] metrics wants prometheus-client; run: pip install 'strangler[sync]'") from exc
    try:
        end = serve(project)
    except OSError as exc:
        raise Failure(f"[sync] metrics: nobody can listen at {project.sync.metrics}: {exc.strerror}") from exc
    try:
        yield
    finally:
        end()


def show_status(
    context: typer.Context,
    capability: Annotated[
        list[str] | None,
        typer.Argument(metavar="CAPABILITY", help="Only these.", autocompletion=complete_capability),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Stay, and show every change; Ctrl-C leaves.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show how far every stream is, what it costs its source, and whether the way back is open."""
    project = shell(context).project()
    names = [files_of(project, name).name for name in capability or ()]
    if as_json:
        states = _states(project)
        print_json([_plain(each, states.get(each.capability)) for each in status(project, names)])
    elif watch:
        with until_interrupted(), Live(_view(project, names), console=out, auto_refresh=False) as live:
            while True:
                time.sleep(_REFRESH_S)
                live.update(_view(project, names), refresh=True)
    else:
        out.print(_view(project, names))


def remove(context: typer.Context, capability: CapabilityName, reason: Reason) -> None:
    """End a capability's streams, and leave nothing of them in either database; rows stay as they are."""
    project = shell(context).project()
    files_of(project, capability)
    asked = syncing.Asked(capability=capability, who=who(), reason=reason)
    with Publisher.open(project) as publisher:
        syncing.remove(asked, project, publisher)
        retired = publisher.ledger.state(capability).stage is Stage.RETIRED
    rows = "the monolith's tables stay fenced" if retired else "the service's rows are as they were"
    out.print(f"{capability}: nothing of its streams is left in either database; {rows}")


# --- what a person reads ---


def _states(project: Project) -> dict[str, State]:
    with Publisher.open(project) as publisher:
        return publisher.ledger.states()


def _plain(sync: Sync, state: State | None) -> dict[str, Any]:
    back = state and way_back(state, sync.forward, sync.back).to_json()
    return {"stage": state and str(state.stage), **sync.to_json(), "way_back": back}


def _view(project: Project, names: Sequence[str]) -> RenderableType:
    states, found = _states(project), status(project, names)
    if not found:
        return Text("no capability has a mapping.toml: there is nothing to keep equal")
    parts: list[RenderableType] = []
    for each in found:
        state = states.get(each.capability)
        parts += [Text() if parts else "", *shown(each, state)]
    return Group(*parts[1:])


def shown(sync: Sync, state: State | None) -> Iterator[RenderableType]:
    """Yield what a person reads of a capability's streams."""
    stage = show_stage(state) if state else "[dim]not published[/]"
    yield f"[bold]{escape(sync.capability)}[/]  {stage}"
    yield _streams(sync)
    for each in (sync.forward, sync.back):
        if each.problem is not None:
            yield _indented(f"{_name(each)}: {printable(each.problem)}", "red")
    if state is not None:
        yield from (_indented(words, "red") for words in misfenced(sync, state))
    if state is not None and state.stage is Stage.RETIRED:
        follows = ", and follow the service" if state.data is Data.STREAMED else ""
        yield _indented(f"there is no way back any more; the monolith's tables are fenced{follows}", "dim")
    elif state is not None:
        yield _going_back(way_back(state, sync.forward, sync.back))
    yield from _held(sync)
    yield from _reactions(sync)
    if sync.copy is not None:
        done, rows = sync.copy.rows_done, max(sync.copy.rows, sync.copy.rows_done)
        left = sync.copy.remaining_s
        remaining = f", about {duration(left)} left at its pace" if left else ""
        yield f"  copy: {done:,} of {rows:,} rows{remaining}"
    yield from _verified(sync)
    if sync.tables:
        counts = ", ".join(f"{name} {_about(here)} | {_about(there)}" for name, (here, there) in sync.tables.items())
        yield _indented(f"rows, estimated, monolith | service: {counts}", "dim")


def _indented(words: str, style: str) -> Padding:
    """Return a sentence that stays behind its indent where it is broken."""
    return Padding(Text(words, style=style), (0, 0, 0, 2))


def _held(sync: Sync) -> Iterator[RenderableType]:
    """Yield what keeps either slot back; where both databases are one server's, once."""
    shown: set[Key] = set()
    for server, each in (("monolith", sync.forward), ("service", sync.back)):
        if each.held is None:
            continue
        by = [holder for holder in each.held.by if holder.key not in shown]
        shown.update(holder.key for holder in by)
        for holder in by:
            yield _indented(f"the {server} keeps WAL for {holder}", "yellow")
        more = each.held.count - len(each.held.by)
        if by and more > 0:
            yield _indented(f"and for {more:,} more", "yellow")
        if by and each.held.grant is not None:
            yield _indented(f"to see what is hidden, run there: {each.held.grant}", "dim")


def _reactions(sync: Sync) -> Iterator[RenderableType]:
    """Yield what waits to be reacted to, and which reactions do not go on."""
    for each in (*sync.forward.reactions, *sync.back.reactions):
        if each.waiting == 0:
            yield _indented(f"reaction {each.name}: nothing waits", "dim")
            continue
        waits = f"reaction {each.name}: {each.waiting:,} changes wait, the oldest for {duration(each.oldest_s or 0)}"
        late = (each.oldest_s or 0) > FRESH_S
        if each.trouble is None:
            yield _indented(
                f"{waits}; is manage.py strangler_react running?" if late else waits, "yellow" if late else ""
            )
        else:
            told = f"change {each.change} failed {each.tries} times: {printable(each.trouble)}"
            yield _indented(f"{waits}; {told}", "red")


def _going_back(found: WayBack) -> RenderableType:
    if found.owner is Stack.MONOLITH:
        reads = [f"{show_share(found.share)} of the reads"] if found.share else []
        reads += [f"cohort {name}" for name in found.cohorts]
        which = f"{' and '.join(reads)} would return to the monolith" if reads else "no reads are with the service"
        return _indented(f"going back loses nothing; {which}", "")
    if found.gate is Gate.NONE:
        return _indented("there is no way back: no stream leads to the monolith", "bold red")
    pending = ", ".join(
        filter(None, (_bytes(found.pending_bytes), _age(found.pending_s), _transactions(found.pending_transactions)))
    )
    if found.rows_lost == 0:
        return _indented(f"going back loses nothing; the monolith has yet to apply {pending}", "")
    unknown = pending or "nobody knows how much"
    return _indented(f"going back would lose what the monolith has not applied: {unknown}", "bold red")


def _verified(sync: Sync) -> Iterator[Text]:
    found = [each for each in (sync.verified.whole, sync.verified.part) if each is not None]
    if not found and sync.forward.begun:
        yield Text("  never verified", style="dim")
    for each in found:
        rows = f"{each.rows:,} rows" + (f" ({each.part})" if each.part else "")
        said = "equal" if each.equal else f"different in {each.differing:,}"
        style = "green" if each.equal else "bold red"
        yield Text.assemble(f"  verified {_ago(each)}: ", (said, style), f", {rows} in {each.seconds:.1f} s")


def _ago(each: Kept) -> str:
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if each.age_s >= 2 * length:
            return f"{each.age_s // length:.0f} {unit} ago"
    return f"{max(0.0, each.age_s):.0f} s ago"


def _streams(sync: Sync) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("", "", "behind", "", "transactions", "changes", "WAL kept"):
        table.add_column(title, justify="right" if table.columns[1:] else "left", no_wrap=True)
    table.columns[1].justify = "left"
    for each in (sync.forward, sync.back):
        table.add_row(
            _name(each),
            _state(each),
            _bytes(each.lag_bytes),
            _age(each.lag_s),
            "" if each.lag_transactions is None else f"≤ {max(0, each.lag_transactions):,}",
            f"{each.changes:,}" if each.begun else "",
            _bytes(each.kept_bytes),
        )
    return table


def _age(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{max(0.0, seconds):.1f} s" if seconds < 60 else duration(seconds)


def _transactions(count: int | None) -> str:
    return "" if count is None else f"≤ {max(0, count):,} transactions"


def _name(each: Status) -> str:
    return "forward" if each.way == "forward" else "way back"


def _state(each: Status) -> str:
    if each.problem is not None:
        return "[red]stopped[/]"
    if not each.begun:
        return "[dim]not begun[/]"
    if not each.running:
        return "[yellow]nobody applies[/]"
    if each.lag_s is None or each.lag_s > FRESH_S:
        return "[yellow]behind[/]" if each.way == "forward" else "[yellow]not fresh[/]"
    if each.way == "reverse":
        return "[green]open[/]"
    return "[blue]copying[/]" if each.copying else "[green]following[/]"


def _about(rows: int | None) -> str:
    return "?" if rows is None else f"{rows:,}"


def _bytes(count: int | None) -> str:
    return "" if count is None else size(count)
