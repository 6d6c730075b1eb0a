"""``sync repair``: rows of the service that differ made equal again."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from strangler.cli import verify
from strangler.cli.shell import CapabilityName, Failure, Reason, complain, files_of, out, shell, who
from strangler.ledger import LedgerError, Publisher
from strangler.project import ProjectInvalid
from strangler.sync import repairing
from strangler.sync.errors import SyncError
from strangler.sync.syncing import Asked
from strangler.sync.verify import TOLD, Verdict

_DIFFERENT: Final = 1
_NOT_DONE: Final = 2


def repair(
    context: typer.Context,
    capability: CapabilityName,
    reason: Reason,
    table: Annotated[
        list[str] | None, typer.Option("--table", help="Only this table, by its name on either side; repeatable.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what differs, and write nothing.")] = False,
    rows: Annotated[int, typer.Option("--rows", min=0, help="How many differing rows of a table to tell.")] = TOLD,
    at_most: Annotated[
        int, typer.Option("--at-most", min=1, help="Write nothing where more rows differ.")
    ] = repairing.MOST,
) -> None:
    """Make rows of the service that differ what the mapping makes of the monolith's, beside the stream.

    Exit code 0 when they are equal then, 1 when not, 2 when it could not be done.
    """
    try:
        project = shell(context).project()
        files_of(project, capability)
        asked = Asked(capability=capability, who=who(), reason=reason)
        with Publisher.open(project) as publisher:
            publisher.ledger.state(capability)
            finding = repairing.find(capability, tuple(table or ()), at_most, rows, project, verify.warn)
            found = verify.watched(finding)
            out.print(verify.view(found, out.width))
            if found.equal or dry_run:
                raise typer.Exit(0 if found.equal else _DIFFERENT)
            done = repairing.repair(asked, found, at_most, project, publisher)
        out.print(f"{capability}: {done.inserted:,} inserted, {done.updated:,} updated, {done.deleted:,} deleted")
        proved = verify.watched(repairing.prove(found, project, verify.warn))
    except (SyncError, LedgerError, ProjectInvalid, Failure) as exc:
        complain(exc)
        raise typer.Exit(_NOT_DONE) from exc
    _tell(proved, found)


def _tell(proved: Verdict, found: Verdict) -> None:
    rows = sum(map(len, found.keys.values()))
    if proved.equal:
        out.print(f"{found.capability}: these {rows:,} rows are equal now", style="green")
        return
    out.print(verify.view(proved, out.width))
    raise typer.Exit(_DIFFERENT)
