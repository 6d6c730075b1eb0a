"""The ledger: the state of every capability under lock, its epoch, and the append-only history.

A change is one transaction: lock the capability's row, compare the epoch, ask ``transit``, write state and history,
lock the publication row, build the whole routing table and store it sealed. What is pushed to the proxies afterwards
is exactly what was committed; a push that is lost is repaired from here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Self

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from strangler.capability import (
    AbortMove,
    Clear,
    Command,
    CompleteAbort,
    CompleteBar,
    CompleteForce,
    CompleteMove,
    CompleteSync,
    Data,
    DiscardCopy,
    ForceMove,
    Kill,
    Phase,
    RaiseFence,
    Refused,
    RefuseWrites,
    Retire,
    SetReads,
    Stack,
    StartMove,
    StartSync,
    State,
    StopSync,
    SwitchOwner,
    TakeSnapshot,
    transit,
)
from strangler.ledger import approvals, schema
from strangler.ledger.approvals import Proposal
from strangler.ledger.errors import Conflict, Drift, LedgerError, NotInstalled, Unknown, Unreachable
from strangler.project import CapabilityFiles, Project
from strangler.routing.hold import Hold
from strangler.routing.keys import Keys
from strangler.routing.protect import Reach
from strangler.routing.table import (
    Capability,
    RoutingTable,
    capability_from_json,
    capability_to_json,
    is_sealed,
    seal,
    state_from_json,
    state_to_json,
)

# Two people who toggle at once wait for each other this long at most: a transition takes milliseconds.
_LOCK_TIMEOUT_MS: Final = 2_000
_CONNECT_TIMEOUT_S: Final = 5
# A machine that vanishes says no goodbye: what is asked of it is given up after so long, and not after many minutes.
_SILENT_S: Final = 15
# Enough to look back at a bad day; the history keeps every state anyway.
_TABLES_KEPT: Final = 100

NAMES: Final[Mapping[type[Command], str]] = {
    SetReads: "set",
    Kill: "kill",
    RefuseWrites: "read-only",
    Clear: "clear",
    TakeSnapshot: "snapshot",
    DiscardCopy: "discard",
    StartSync: "sync-start",
    CompleteSync: "sync-complete",
    StopSync: "sync-remove",
    RaiseFence: "fence-raise",
    StartMove: "move-start",
    SwitchOwner: "move-switch",
    CompleteMove: "move-complete",
    AbortMove: "move-abort",
    CompleteAbort: "move-aborted",
    ForceMove: "move-force",
    CompleteForce: "move-forced",
    CompleteBar: "move-barred",
    Retire: "retire",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A command for one capability, by whom and why. ``epoch`` is the one the decision was based on.

    ``confirms`` names what somebody else must have proposed: it is confirmed within the same transaction.
    """

    capability: str
    command: Command
    who: str
    reason: str
    epoch: int | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    confirms: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A routing table that is committed: its version, and its bytes as the proxies get them."""

    version: int
    sealed: bytes = field(repr=False)
    before: State | None = None
    after: State | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the history."""

    id: int
    at: datetime
    capability: str
    command: str
    who: str
    reason: str
    version: int
    epoch: int
    before: State | None
    after: State | None
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Line:
    """What the history says of a step besides the states before and after."""

    capability: str
    command: str
    who: str
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


class Ledger:
    """A connection to the control database. Close it, or use it as a context."""

    def __init__(self, connection: psycopg.Connection, keys: Keys) -> None:
        self.connection = connection
        self._keys = keys

    @classmethod
    def open(cls, project: Project) -> Self:
        """Connect to the project's control database. Raises ``Unreachable`` or ``ProjectInvalid``."""
        keys = project.control.keys()
        return cls(_connect(project), keys)

    def reconnect(self, project: Project) -> None:
        """Connect anew, where the connection was lost. Raises as ``open`` does."""
        if self.connection.closed:
            self.connection = _connect(project)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.connection.close()

    def states(self) -> dict[str, State]:
        """Return the state of every capability that was published."""
        with _translated():
            rows = self.connection.execute("select name, state from strangler.capability order by name").fetchall()
        return {name: state_from_json(state) for name, state in rows}

    def state(self, capability: str) -> State:
        """Return the state of one capability. Raises ``Unknown``."""
        with _translated():
            return self._row(capability, "")[1]

    def definitions(self) -> dict[str, Any]:
        """Return what was published of every capability's files, as ``definition_of`` gives it."""
        with _translated():
            return dict(self.connection.execute("select name, definition from strangler.capability").fetchall())

    def newest(self) -> Publication | None:
        """Return the routing table in force, None before the first."""
        with _translated():
            row = self.connection.execute(
                "select version, sealed from strangler.routing_table order by version desc limit 1"
            ).fetchone()
        return Publication(version=row[0], sealed=bytes(row[1])) if row else None

    def history(self, capability: str | None = None, limit: int = 50) -> list[Entry]:
        """Return the last ``limit`` entries, the newest first."""
        with _translated(), self.connection.cursor(row_factory=dict_row) as cursor:
            cursor.execute(
                "select * from strangler.history where %(name)s::text is null or capability = %(name)s"
                " order by id desc limit %(limit)s",
                {"name": capability, "limit": limit},
            )
            return [_entry(row) for row in cursor]

    def last(self, capability: str) -> tuple[Entry, float] | None:
        """Return the last entry of a capability, and how many seconds ago it was written."""
        with _translated():
            found = self.history(capability, limit=1)
            row = self.connection.execute("select clock_timestamp()").fetchone()
        return (found[0], (row[0] - found[0].at).total_seconds()) if found and row else None

    def apply(self, change: Change, files: CapabilityFiles | None = None) -> Publication:
        """Make one transition and store the routing table that carries it.

        ``files`` are the capability's as known here; they must be what was published. Raises ``Conflict`` when the
        epoch is no longer ``change.epoch``, ``Drift``, ``Unknown``, or ``Refused`` with the reason.
        """
        with _translated(changing=True), self.connection.transaction():
            definition, before = self._row(change.capability, "for update")
            if files is not None and definition_of(files) != definition:
                raise Drift(f"the files of {change.capability} here are not what is published")
            if change.epoch is not None and change.epoch != before.epoch:
                raise Conflict(self._conflict(change.capability, change.epoch, before.epoch))
            after = transit(before, change.command)
            if change.confirms is not None:
                approvals.confirm(self.connection, change.capability, change.confirms, change.who, before.epoch)
            self._write_state(change.capability, after)
            publication = self._publish()
            command = NAMES[type(change.command)]
            line = Line(change.capability, command, change.who, change.reason, change.evidence)
            self._write_history(line, publication.version, before, after)
            return replace(publication, before=before, after=after)

    def note(self, line: Line) -> None:
        """Write into the history what was done without a transition: no epoch rises, nothing is published.

        Raises ``Unknown``.
        """
        with _translated(changing=True), self.connection.transaction():
            _, state = self._row(line.capability, "")
            row = self.connection.execute("select version from strangler.publication").fetchone()
            self._write_history(line, row[0] if row else 0, state, state)

    def propose(self, capability: str, action: str, *, who: str, reason: str, asked: Mapping[str, Any]) -> None:
        """Keep what somebody proposes for a capability as it is now. Raises ``Unknown``."""
        with _translated(changing=True), self.connection.transaction():
            _, state = self._row(capability, "for update")
            approvals.propose(
                self.connection,
                capability=capability,
                action=action,
                who=who,
                reason=reason,
                epoch=state.epoch,
                asked=asked,
            )
            row = self.connection.execute("select version from strangler.publication").fetchone()
            line = Line(capability, f"{action}-propose", who, reason, asked)
            self._write_history(line, row[0] if row else 0, state, state)

    def proposal(self, capability: str, action: str) -> Proposal | None:
        """Return what is proposed for a capability and was not confirmed, expired or not."""
        with _translated():
            return approvals.proposal(self.connection, capability, action)

    def enrol(
        self, project: Project, *, who: str, reason: str, above: int = 0, drop: Collection[str] = ()
    ) -> Publication | None:
        """Bring the schema up to date and the project's files into force; return None when nothing changed.

        ``above`` is the highest version that a worker or the broker has seen: a ledger restored from a backup must
        not publish below it, or nobody would listen. Raises ``Refused`` when a capability that still has readers on
        its service, or is owned by it and not named in ``drop``, is missing from the files.
        """
        with _translated():
            schema.upgrade(self.connection)
        with _translated(changing=True), self.connection.transaction():
            self.connection.execute("select from strangler.publication for update")
            changes = list(self._enrol(project, drop))
            row = self.connection.execute("select version, upstreams, reach from strangler.publication").fetchone()
            upstreams = {name: list(endpoints) for name, endpoints in project.upstreams.items()}
            reach = {name: found for name, each in project.reach.items() if (found := each.to_json())}
            same = row is not None and not changes and row[1:] == (upstreams, reach) and row[0] >= above
            if same and self._is_published():
                return None
            self.connection.execute(
                "update strangler.publication set upstreams = %s, reach = %s, version = greatest(version, %s)",
                [Jsonb(upstreams), Jsonb(reach), above],
            )
            publication = self._publish()
            for name, before, after in changes:
                line = Line(name, "enrol" if after else "remove", who, reason)
                self._write_history(line, publication.version, before, after)
            return publication

    def _enrol(self, project: Project, drop: Collection[str]) -> Iterator[tuple[str, State | None, State | None]]:
        rows = self.connection.execute("select name, definition, state from strangler.capability for update")
        known = {name: (definition, state_from_json(state)) for name, definition, state in rows}
        for name in known.keys() - project.capabilities.keys():
            _refuse_loss(name, known[name][1], drop)
            self.connection.execute("delete from strangler.capability where name = %s", [name])
            yield name, known[name][1], None
        for name, files in project.capabilities.items():
            definition, before = known.get(name, (None, None))
            if definition != definition_of(files):
                after = _enrolled(files, before)
                self._write_definition(files, after)
                yield name, before, after

    def _row(self, capability: str, lock: str) -> tuple[Any, State]:
        query = "select definition, state from strangler.capability where name = %s"
        row = self.connection.execute(f"{query} for update" if lock else query, [capability]).fetchone()
        if row is None:
            raise Unknown(f"no capability named {capability!r} is published")
        return row[0], state_from_json(row[1])

    def _conflict(self, capability: str, seen: int, now: int) -> str:
        last = self.history(capability, limit=1)[0]
        ago = (datetime.now(UTC) - last.at).total_seconds()
        return (
            f"{capability} went from epoch {seen} to {now} meanwhile: {last.who} did {last.command!r} "
            f"{ago:.1f} s ago ({last.reason}). Nothing was changed by you; look, then decide again"
        )

    def _write_state(self, capability: str, state: State) -> None:
        self.connection.execute(
            "update strangler.capability set epoch = %s, state = %s where name = %s",
            [state.epoch, Jsonb(state_to_json(state)), capability],
        )

    def _write_definition(self, files: CapabilityFiles, state: State) -> None:
        self.connection.execute(
            "insert into strangler.capability (name, definition, epoch, state) values (%s, %s, %s, %s)"
            " on conflict (name) do update"
            " set definition = excluded.definition, epoch = excluded.epoch, state = excluded.state",
            [files.name, Jsonb(definition_of(files)), state.epoch, Jsonb(state_to_json(state))],
        )

    def _write_history(self, line: Line, version: int, before: State | None, after: State | None) -> None:
        known = after or before or State()
        self.connection.execute(
            "insert into strangler.history (capability, command, who, reason, version, epoch, before, after, evidence)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                line.capability,
                line.command,
                line.who,
                line.reason,
                version,
                known.epoch,
                Jsonb(state_to_json(before)) if before else None,
                Jsonb(state_to_json(after)) if after else None,
                Jsonb(dict(line.evidence)),
            ],
        )

    def _is_published(self) -> bool:
        """Return whether there is a table that is sealed with the secret of today."""
        newest = self.newest()
        return newest is not None and is_sealed(newest.sealed, self._keys.table)

    def _publish(self) -> Publication:
        row = self.connection.execute(
            # By way of JSON: a ledger that is not upgraded yet has no such column, and must be able to kill.
            "update strangler.publication set version = version + 1 returning version, upstreams, clock_timestamp(),"
            " coalesce(to_jsonb(publication) -> 'reach', '{}')"
        ).fetchone()
        if row is None:
            raise NotInstalled("the ledger has lost its publication row")
        # Read after the publication row is locked: whoever published before us has committed what we read.
        rows = self.connection.execute("select definition, state from strangler.capability order by name")
        table = RoutingTable(
            version=row[0],
            published_at=row[2],
            upstreams={name: tuple(endpoints) for name, endpoints in row[1].items()},
            capabilities=tuple(_capability(definition, state) for definition, state in rows),
            reach={name: Reach.from_json(each) for name, each in row[3].items() if name in row[1]},
        )
        sealed = seal(table, self._keys.table)
        self.connection.execute(
            "insert into strangler.routing_table (version, sealed) values (%s, %s)", [table.version, sealed]
        )
        self.connection.execute(
            "delete from strangler.routing_table where version <= %s", [table.version - _TABLES_KEPT]
        )
        return Publication(version=table.version, sealed=sealed)


def _connect(project: Project) -> psycopg.Connection:
    try:
        return psycopg.connect(
            project.control.database.reveal(),
            autocommit=True,
            connect_timeout=_CONNECT_TIMEOUT_S,
            application_name="strangler ledger",
            keepalives_idle=_SILENT_S,
            tcp_user_timeout=1_000 * _SILENT_S,
            options=f"-c lock_timeout={_LOCK_TIMEOUT_MS} -c statement_timeout=10000",
        )
    except psycopg.OperationalError as exc:
        raise Unreachable(f"the control database does not answer: {str(exc).strip().splitlines()[0]}") from exc


def definition_of(files: CapabilityFiles) -> dict[str, Any]:
    """Return what the ledger keeps of a capability's files, to be compared with what was published."""
    definition = capability_to_json(files.routed(files.first_state))
    del definition["state"]
    if files.born is not Stack.MONOLITH:
        definition["born"] = str(files.born)
    return {**definition, "tables": sorted(table.source for table in files.tables)}


def _capability(definition: dict[str, Any], state: dict[str, Any]) -> Capability:
    """Return a capability as it is published: its writes wait while its owner is being moved, or are refused."""
    found = capability_from_json({**definition, "state": state})
    if found.state.moving is not None:
        return replace(found, hold=Hold(id=found.state.moving.epoch))
    if found.state.read_only is not None:
        return replace(found, hold=Hold(id=found.state.epoch, count=0))
    return found


def _enrolled(files: CapabilityFiles, before: State | None) -> State:
    """Return the state of a capability whose files are new or have changed: what it was, one epoch on."""
    if before is None:
        return files.first_state
    if before.moving is not None:
        raise Refused(f"the owner of {files.name} is being moved; publish its files when that has ended")
    if files.born is Stack.SERVICE and before.owner is Stack.MONOLITH:
        raise Refused(f"the monolith owns {files.name}; it cannot be born in its service afterwards: take born out")
    data = before.data
    if before.owner is Stack.MONOLITH and (data is Data.NONE) == bool(files.tables):
        if before.reads_leave_owner:
            raise Refused(f"the tables of {files.name} have changed while readers are on its service; set reads to 0")
        if before.is_streamed:
            raise Refused(
                f"{files.name} has no tables any more, and they are streamed; put mapping.toml back and run first:"
                f" strangler sync remove {files.name}"
            )
        data = files.first_state.data
    known = {cohort.name for cohort in files.cohorts}
    cohorts = {name: stack for name, stack in before.cohorts.items() if name in known}
    gone = sorted(before.cohorts.keys() - known)
    if gone:
        raise Refused(f"cohort {gone[0]} of {files.name} is in force and gone from the files; take it out first")
    return replace(
        before,
        epoch=before.epoch + 1,
        cohorts=cohorts,
        data=data,
        data_at=before.data_at if data is Data.SNAPSHOT else None,
    )


def _refuse_loss(name: str, state: State, drop: Collection[str]) -> None:
    if state.reads_leave_owner:
        raise Refused(f"{name} is gone from the files, and its service still has readers; set its reads to 0")
    if state.is_streamed:
        raise Refused(
            f"{name} is gone from the files, and its tables are streamed: its slot would keep WAL for ever; put them"
            f" back and run first: strangler sync remove {name}"
        )
    if state.move is not None and state.move.phase is Phase.BARRING and name not in drop:
        raise Refused(
            f"{name} is gone from the files, and its service's database may come back unfenced after the rollback that"
            f" was forced; if it never will: strangler publish --drop {name}"
        )
    if state.owner is Stack.SERVICE and name not in drop:
        raise Refused(
            f"{name} is gone from the files, and its service owns the data: its paths would lead to the monolith, "
            f"which has none of it; say --drop {name} if that is meant"
        )


def _entry(row: dict[str, Any]) -> Entry:
    states = {key: state_from_json(row[key]) if row[key] else None for key in ("before", "after")}
    return Entry(**{**row, **states})


@contextmanager
def _translated(*, changing: bool = False) -> Iterator[None]:
    # A connection that is lost during COMMIT leaves open on which side of it the database was.
    doubt = "; whether the change was made is not known: see strangler history before trying again" if changing else ""
    try:
        yield
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as exc:
        missing = "the control database has no ledger yet, or one of a release before"
        raise NotInstalled(f"{missing}; run: strangler publish") from exc
    except psycopg.errors.LockNotAvailable as exc:
        raise Conflict("somebody else is changing it right now; nothing was changed by you") from exc
    except psycopg.OperationalError as exc:
        words = str(exc).strip().splitlines()[0]
        raise Unreachable(f"the control database does not answer: {words}{doubt}") from exc
    except psycopg.Error as exc:
        raise LedgerError(f"the control database refused: {str(exc).strip().splitlines()[0]}") from exc
