"""Copying a capability's rows into its service's tables: planned once, killed at any instant, carried on.

A chunk is a range of keys. It is read in a short snapshot of its own by COPY of the projection, in binary, and written
by COPY as it comes: no row becomes a Python object. Where rows of the range are there already (a chunk that was done
but not recorded), what is absent is inserted. The claim on a chunk is a row lock in the control database: it ends with
the process that holds it, and a chunk that is delivered twice is copied once.

The copy is not one snapshot of the whole: its time is the START of the run, the oldest that any row in it can be.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from types import TracebackType
from typing import Final, Self

import psycopg
from psycopg import sql

from strangler.project import CapabilityFiles, Project, ProjectInvalid
from strangler.sync import filling, record, transfer, verdicts, watermark
from strangler.sync.catalogue import identifier
from strangler.sync.direction import Way, mapping_file, stream_name
from strangler.sync.errors import ChunkFailed, OutOfDate, SyncError, Unreachable
from strangler.sync.mapping import Projection, digest, project
from strangler.sync.plan import FREELY, HandOut, Progress, Seen, Throttle
from strangler.sync.refusal import Refused
from strangler.sync.watermark import Standing

_LOOK_S: Final = 0.1
_PAUSES_S: Final = (0.5, 2.0, 5.0)

Submit = Callable[[int, int], object]
"""Has one chunk copied, by run and number, here or elsewhere, now or later."""


def check(files: CapabilityFiles, setting: Project) -> list[Projection]:
    """Return the capability's projections, made fast against both live databases. Raises ``MappingInvalid``."""
    with _both(setting, files) as (source, target):
        return project(files.tables, source, target, mapping_file(files, setting))


def prepare(files: CapabilityFiles, setting: Project, *, replace: bool, chunk_rows: int | None = None) -> int:
    """Return the run to work on: the unfinished one, else a new one whose chunks are planned.

    ``chunk_rows`` None has chunks of some megabytes. ``replace`` gives up an unfinished run and empties the target's
    tables. Raises ``MappingInvalid``, or ``NotEmpty`` when the tables hold rows that no unfinished run explains.
    """
    with _control(setting) as control, _both(setting, files) as (source, target):
        projections = project(files.tables, source, target, mapping_file(files, setting))
        wanted = digest(files.tables)
        streamed = _stream(target, files) is not None
        if streamed and replace:
            raise SyncError(
                f"the tables of {files.name} are streamed into, and to empty them would empty the monolith's once the"
                f" service owns them; run first: strangler sync remove {files.name}"
            )
        if replace:
            record.abandon(control, files.name)
            verdicts.forget(control, files.name)
            transfer.empty(target, projections)
        run = record.unfinished(control, files.name, wanted)
        if run is not None:
            return run
        if not streamed:
            transfer.refuse_rows(target, projections)
        chunks = list(transfer.plan(source, projections, chunk_rows))
        return record.begin(control, files.name, wanted, chunks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """A throttle, and what looks at what it wants to know."""

    throttle: Throttle = FREELY
    look: Callable[[], Seen] = Seen

    def ask(self, progress: Progress, given: int) -> tuple[int, str | None]:
        """Return how many chunks may be given out now, and what keeps others from it."""
        seen = self.look() if self.throttle.looks else Seen()
        return self.throttle.room(progress, given, seen), self.throttle.waits(progress, given, seen)


FREE: Final = Pace()


def follow(setting: Project, run: int, submit: Submit, pace: Pace = FREE) -> Iterator[Progress]:
    """Hand out the chunks of ``run``, table by table, and yield the progress until all are done.

    Raises ``ChunkFailed`` with the first chunk that a worker could not copy.
    """
    with _control(setting) as control:
        record.forget_failures(control, run)
        started = time.monotonic()
        hand_out = HandOut(started)
        progress = record.progress(control, run, 0, None)
        yield progress
        while progress.chunks_done < progress.chunks:
            record.raise_failure(control, run)
            room, waits = pace.ask(progress, hand_out.given)
            waiting = record.next_chunks(control, run)
            now, abreast = time.monotonic(), pace.throttle.abreast
            for number in hand_out.due(waiting, progress.chunks_done, now, room, abreast):
                submit(run, number)
            time.sleep(_LOOK_S)
            progress = record.progress(control, run, time.monotonic() - started, progress.rows_before)
            yield replace(progress, waits=waits)


def copy_here(setting: Project, run: int, pace: Pace = FREE) -> Iterator[Progress]:
    """Copy the chunks of ``run`` in this process, one after the other, and yield the progress until all are done.

    Raises ``ChunkFailed`` at the first that cannot be copied.
    """
    with _control(setting) as control, _Ends(setting) as ends:
        started, given = time.monotonic(), 0
        progress = record.progress(control, run, 0, None)
        yield progress
        while waiting := record.next_chunks(control, run):
            for number in waiting:
                while waits := pace.ask(progress, given)[1]:
                    progress = replace(progress, seconds=time.monotonic() - started, waits=waits)
                    yield progress
                    time.sleep(_LOOK_S)
                given += 1
                if _copy_chunk(control, ends, run, number) is None:
                    time.sleep(_LOOK_S)  # somebody else is at it
                progress = record.progress(control, run, time.monotonic() - started, progress.rows_before)
                yield progress


def prove(files: CapabilityFiles, setting: Project, run: int) -> datetime:
    """Return the time of ``run``, that of its start, once the target is seen to hold the rows that the source gave.

    Sets the target's sequences past them. Raises ``SyncError`` naming the table and both counts where they differ.
    """
    with _control(setting) as control, _both(setting, files) as (source, target):
        copied = record.copied(control, run)
        for table in files.tables:
            held = transfer.count(target, sql.SQL("select count(*) from {}").format(identifier(table.target)))
            _compare(table.target, copied.get(table.target, 0), held)
        transfer.advance_sequences(target, project(files.tables, source, target, mapping_file(files, setting)))
        return record.started_at(control, run)


def _compare(table: str, given: int, held: int) -> None:
    if held > given:
        raise SyncError(
            f"{table} holds {held} rows where {given} were copied; somebody else wrote there: "
            "see who does, then run it again with --replace"
        )
    if held < given:
        raise SyncError(
            f"{table} holds {held} rows where {given} were copied; somebody deleted some, or a trigger or rule of "
            f"{table} keeps rows out: see which, then run it again with --replace"
        )


def close(setting: Project, run: int) -> None:
    """Record that ``run`` is finished; done last, so that whatever was cut short before is carried on."""
    with _control(setting) as control:
        record.finish(control, run)


def copy_chunk(setting: Project, run: int, number: int) -> int | None:
    """Copy one chunk and record it; return its rows, or None when it is done or being copied by somebody else.

    Safe to call any number of times, from any process. Raises ``ChunkFailed`` after recording why.
    """
    with _control(setting) as control, _Ends(setting) as ends:
        return _copy_chunk(control, ends, run, number)


def _copy_chunk(control: psycopg.Connection, ends: _Ends, run: int, number: int) -> int | None:
    with control.transaction():
        claim = record.claim(control, run, number)
        if claim is None:
            return None
        try:
            rows = _copy_patiently(ends, claim)
        except (psycopg.Error, SyncError, ProjectInvalid) as exc:
            failure = ChunkFailed(f"{claim.chunk}: {_sentence(exc)}")
            record.failed(control, run, number, str(failure))
        else:
            record.done(control, run, number, rows)
            return rows
    raise failure


def give_up_chunk(setting: Project, run: int, number: int, why: str) -> None:
    """Record that a chunk could not be copied, for whoever follows the run."""
    with _control(setting) as control:
        record.failed(control, run, number, f"chunk {number}: {why}")


def _copy_patiently(ends: _Ends, claim: record.Claim) -> int:
    # A database that restarts is back within seconds; the claim is kept meanwhile.
    for pause in _PAUSES_S:
        try:
            return ends.copy(claim)
        except (psycopg.OperationalError, Unreachable):
            time.sleep(pause)
    return ends.copy(claim)


@dataclass(frozen=True, slots=True)
class _Open:
    """Sessions with both databases, for one table."""

    source: psycopg.Connection
    target: psycopg.Connection
    projection: Projection
    at: Standing | None


class _Ends:
    """What chunks are copied through. It stays open from one chunk of a table to the next: to open it takes 50 ms."""

    def __init__(self, setting: Project) -> None:
        self._setting = setting
        self._stack = ExitStack()
        self._for: tuple[str, str, str] | None = None
        self._open: _Open | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close(exc)

    def copy(self, claim: record.Claim) -> int:
        """Copy a chunk; whatever goes wrong, the next one has sessions of its own."""
        try:
            ends = self._opened(claim)
            if ends.at is None:
                return transfer.copy_range(ends.source, ends.target, ends.projection, claim.chunk)
            return filling.fill_range(ends.source, ends.target, ends.projection, claim.chunk, ends.at)
        except BaseException as exc:
            self._close(exc)
            raise

    def _opened(self, claim: record.Claim) -> _Open:
        wanted = (claim.capability, claim.mapping, claim.chunk.target)
        if self._open is None or self._for != wanted:
            self._close()
            self._open, self._for = self._begun(claim), wanted
        return self._open

    def _begun(self, claim: record.Claim) -> _Open:
        files = _planned(self._setting, claim)
        tables = [table for table in files.tables if table.target == claim.chunk.target]
        source, target = self._stack.enter_context(_both(self._setting, files))
        [projection] = project(tables, source, target, mapping_file(files, self._setting))
        at = _stream(target, files)
        if at is not None:
            filling.begin(target, [projection], at.name)
        return _Open(source, target, projection, at)

    def _close(self, exc: BaseException | None = None) -> None:
        """Close both sessions. Told of ``exc`` they do not commit, which fails within a command and would hide it."""
        self._open = None
        self._stack.__exit__(type(exc) if exc else None, exc, exc.__traceback__ if exc else None)


def _planned(setting: Project, claim: record.Claim) -> CapabilityFiles:
    """Return the files that the claim's run was planned for. Raises ``OutOfDate`` when this process has others."""
    files = setting.capabilities.get(claim.capability)
    if files is None or digest(files.tables) != claim.mapping:
        raise OutOfDate(
            f"a worker holds an older {claim.capability}/mapping.toml than the copy was planned for; "
            "start the workers again, then run this again"
        )
    return files


def _stream(target: psycopg.Connection, files: CapabilityFiles) -> Standing | None:
    """Return where the stream stands that writes to the tables, None where there is none."""
    if not watermark.exists(target):
        return None
    return watermark.standing(target, stream_name(files.name, Way.FORWARD))


def _sentence(error: Exception) -> str:
    first = str(Refused.of(error)) if isinstance(error, psycopg.Error) else str(error).strip().splitlines()[0]
    if isinstance(error, psycopg.errors.ForeignKeyViolation):
        return (
            f"{first}: the row that it refers to was written after its table was copied (run it again with --replace), "
            "or belongs to a table that the mapping leaves out (fill that first)"
        )
    if isinstance(error, psycopg.errors.UniqueViolation):
        return f"{first}: two rows exchanged the value while they were copied; run it again with --replace"
    return first


@contextmanager
def _control(setting: Project) -> Iterator[psycopg.Connection]:
    with transfer.open_database(setting.control.database.reveal(), "control database") as control:
        yield control


@contextmanager
def _both(setting: Project, files: CapabilityFiles) -> Iterator[tuple[psycopg.Connection, psycopg.Connection]]:
    service = setting.services[files.service]
    with ExitStack() as stack:
        source = transfer.open_database(setting.monolith.database.reveal(), "monolith's database")
        target = transfer.open_database(service.database.reveal(), f"{service.name}'s database")
        yield stack.enter_context(source), stack.enter_context(target)
