"""A stream begun anew while its target has rows already: held at the position of a snapshot of its source.

A slot is made together with a snapshot that sees exactly what was committed up to the slot's position: what is read in
it and what the stream brings afterwards make up the source's rows, with nothing missing and nothing twice. So whoever
applies is kept off until the target's rows are what the snapshot has; then there is nothing that the two could disagree
about, no tombstones, and no rows that are of another time than the stream.

It is held by the word that no stream goes on over: ``given_up``. A process that dies leaves it so, its slot with it,
which is looked after as any other is (``retention``); to begin anew once more is the way on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from strangler.sync import identity, install, outlining
from strangler.sync.direction import Direction
from strangler.sync.errors import StreamBroken, SyncError, TimedOut
from strangler.sync.mapping import Projection
from strangler.sync.outline import Outline
from strangler.sync.walsender import Server, Walsender


@dataclass(frozen=True, slots=True)
class Anew:
    """A stream that is held at ``position``, with sessions at both ends: the source's reads the snapshot alone."""

    direction: Direction
    source: psycopg.Connection
    target: psycopg.Connection
    projections: Sequence[Projection]
    position: str
    why: str

    def prove(self) -> None:
        """Raise ``StreamBroken`` where somebody has gone on with the stream meanwhile, or given it up."""
        found = self.target.execute(
            "select given_up, lsn = %s::pg_lsn from strangler_sync.stream where name = %s",
            [self.position, self.direction.name],
        ).fetchone()
        if found is None or found != (self.why, True):
            told = found[0] if found and found[0] not in (None, self.why) else "somebody has begun it anew meanwhile"
            raise StreamBroken(f"{self.direction.name} is not at {self.position} any more: {told}; nothing was written")

    def open(self) -> None:
        """Let whoever applies go on from the position."""
        with self.target.transaction():
            self.target.execute(
                "select from strangler_sync.stream where name = %s for no key update", [self.direction.name]
            )
            self.prove()
            self.target.execute(
                "update strangler_sync.stream set given_up = null, stopped = null where name = %s",
                [self.direction.name],
            )


@contextmanager
def anew(direction: Direction, why: str) -> Iterator[Anew]:
    """Begin a stream anew, held with the words ``why``, and yield what it is to be opened by.

    What is left of an earlier one goes. Raises as ``install`` does.
    """
    with direction.open() as (source, target):
        projections = direction.projections(source, target)
        install.refuse_identities(source, projections, direction.file)
        install.prepare(source)
        install.prepare(target)
        hold(target, direction.name, why)
        outline = install.make_ready(direction, source, target, projections)
        with Walsender(direction.source_url, f"strangler {direction.capability} anew") as sender, source.transaction():
            server = sender.server()
            position, snapshot = _made(source, sender, direction.name)
            source.execute("set transaction isolation level repeatable read, read only")
            source.execute(sql.SQL("set transaction snapshot {}").format(sql.Literal(snapshot)))
            sender.close()  # the snapshot is the transaction's own from here on
            _enter(source, target, direction, position, server, outline, why)
            yield Anew(direction, source, target, projections, position, why)


def hold(target: psycopg.Connection, name: str, why: str) -> None:
    """Keep whoever applies to a stream off, for good; one that is not there is entered, so that its slot is seen."""
    target.execute(
        "insert into strangler_sync.stream (name, lsn, system, timeline, publication, mapping, copying, given_up)"
        " values (%(name)s, '0/0', '', 0, 'null', '', false, %(why)s)"
        " on conflict (name) do update set epoch = stream.epoch + 1, given_up = %(why)s, stopped = %(why)s",
        {"name": name, "why": why},
    )


def _made(source: psycopg.Connection, sender: Walsender, name: str) -> tuple[str, str]:
    try:
        return sender.make_slot(name, install.SLOT_PATIENCE_S)
    except TimedOut as exc:
        raise TimedOut(install.waiting(source, name)) from exc
    except SyncError as exc:
        if type(exc) is not SyncError:
            raise
        raise SyncError(install.unmade(name, str(exc))) from exc


def _enter(
    source: psycopg.Connection,
    target: psycopg.Connection,
    direction: Direction,
    position: str,
    server: Server,
    outline: Outline,
    why: str,
) -> None:
    with target.transaction():
        target.execute("delete from strangler_sync.stream where name = %s", [direction.name])
        target.execute(
            "insert into strangler_sync.stream"
            " (name, lsn, system, timeline, publication, mapping, copying, outline, given_up)"
            " values (%s, %s, %s, %s, %s, %s, false, %s, %s)",
            [
                direction.name,
                position,
                server.system,
                server.timeline,
                Jsonb(identity.publication(source, direction.name)),
                direction.mapping,
                outlining.dumped(outline),
                why,
            ],
        )
