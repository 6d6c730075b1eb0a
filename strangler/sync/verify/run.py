"""The use case: a capability's tables compared, range by range, and the rows that differ found.

Every statement has a snapshot of its own, so that no transaction is long. The price: the two sides are never seen at
one instant. What differs is therefore looked at again before it counts.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import psycopg

from strangler.project import Project, TableMapping
from strangler.sync.direction import Direction, Way, directions
from strangler.sync.errors import SyncError, TimedOut, Unreachable
from strangler.sync.mapping import Key, Projection, project
from strangler.sync.verify.looking import Settle
from strangler.sync.verify.pair import Pair, Patience, first_line, open_pair
from strangler.sync.verify.table import compared
from strangler.sync.verify.verdict import Progress, TableVerdict, Verdict
from strangler.sync.verify.walk import Walk

# As in a copy: large enough that a statement's overhead is lost in it, small enough for a fair progress.
CHUNK_ROWS: Final = 20_000
TOLD: Final = 20
_PAUSE_S: Final = 0.3


def pause() -> None:
    """Wait a moment: what settles rows in flight where no stream tells how far it is."""
    time.sleep(_PAUSE_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifying:
    """What is asked: which capability, which of its ``tables`` (all without any), how many differing rows to tell.

    ``proving`` says that ``settle`` waits for a stream: what differs then, and stands still, need not be looked at
    again. ``rows`` are keys by target table: these rows alone are compared then. ``streamed`` are such keys as the
    stream spells them, None of a table that is compared whole. ``keyed`` is of how many differing rows of a table the
    verdict has the keys. On the ``way`` back it is the service's rows that the monolith's tables are to hold.
    """

    capability: str
    tables: tuple[str, ...] = ()
    told: int = TOLD
    chunk_rows: int = CHUNK_ROWS
    settle: Settle = pause
    proving: bool = False
    patience: Patience = field(default_factory=Patience)
    rows: Mapping[str, Sequence[Key]] | None = None
    streamed: Mapping[str, Collection[Key] | None] | None = None
    keyed: int = 0
    way: Way = Way.FORWARD

    def wants(self, target: str) -> bool:
        """Return whether any row of a table is asked for."""
        chosen = self.rows if self.streamed is None else self.streamed
        if chosen is None:
            return True
        keys = chosen.get(target, ())
        return keys is None or len(keys) > 0


def verify(asked: Verifying, setting: Project) -> Generator[Progress, None, Verdict]:
    """Compare the tables, yield the progress, and return the verdict.

    Raises ``MappingInvalid``, ``RightMissing``, ``TimedOut``, ``NotComparable`` or ``Unreachable``: nothing is proved
    then.
    """
    files = setting.capabilities[asked.capability]
    if not files.tables:
        raise SyncError(f"{files.name} has no mapping.toml: there is nothing to verify")
    direction = directions(files, setting)[asked.way is Way.REVERSE]
    mappings = chosen_of(direction.tables, asked.tables, asked.capability)
    started = time.monotonic()
    with open_pair(direction, asked.patience) as pair:
        tables: list[TableVerdict] = []
        for projection in _projections(pair, mappings, direction.file):
            if asked.wants(projection.mapping.target):
                found = yield from _walk(pair, projection, asked)
                tables.append(found if asked.way is Way.FORWARD else found.turned())
    return Verdict(capability=asked.capability, tables=tuple(tables), seconds=time.monotonic() - started)


def verdict_of(comparing: Generator[Progress, None, Verdict]) -> Verdict:
    """Run a comparison to its end, and show nothing of it."""
    while True:
        try:
            next(comparing)
        except StopIteration as end:
            verdict: Verdict = end.value
            return verdict


class Ready:
    """Both databases connected and looked at, so that changed rows are compared at once: for a pause, when all wait.

    Nothing is in flight then, nor has to be settled. ``projections`` are the tables of ``direction``, by the name of
    its target's.
    """

    def __init__(self, pair: Pair, direction: Direction) -> None:
        self._pair, self._way, self._capability = pair, direction.way, direction.capability
        self.projections = {
            each.mapping.target: each for each in _projections(pair, list(direction.tables), direction.file)
        }
        ends = pair.monolith.connection, pair.service.connection
        with _explained():
            self._tables = {name: compared(each, *ends, CHUNK_ROWS) for name, each in self.projections.items()}

    def verify(self, streamed: Mapping[str, Collection[Key]], settle: Settle | None = None) -> Verdict:
        """Compare the rows of these keys, as the stream spells them. Raises as above.

        ``settle`` is for when somebody writes: it returns when the stream has brought what was written before.
        """
        started = time.monotonic()
        tables = [self._verdict(name, keys, settle or _still) for name, keys in streamed.items() if keys]
        return Verdict(capability=self._capability, tables=tuple(tables), seconds=time.monotonic() - started)

    def _verdict(self, name: str, keys: Collection[Key], settle: Settle) -> TableVerdict:
        walk = Walk(
            table=self._tables[name],
            pair=self._pair,
            told=TOLD,
            chunk_rows=CHUNK_ROWS,
            settle=settle,
            proving=True,
            keyed=0,
        )
        for _ in walk.rows_of_stream(keys):
            pass
        found = walk.verdict()
        return found if self._way is Way.FORWARD else found.turned()


def _still() -> None:
    """Wait for nothing: nobody writes."""


@contextmanager
def ready(direction: Direction, patience: Patience | None = None) -> Iterator[Ready]:
    """Connect to both databases, and yield what compares there. Raises as ``verify`` does."""
    with open_pair(direction, patience or Patience()) as pair:
        yield Ready(pair, direction)


def chosen_of(tables: Sequence[TableMapping], wanted: tuple[str, ...], capability: str) -> list[TableMapping]:
    """Return the tables with ``wanted`` names on either side, all without any. Raises ``SyncError`` for another one."""
    for name in wanted:
        if all(name not in (table.source, table.target) for table in tables):
            names = ", ".join(table.target for table in tables)
            raise SyncError(f"{capability} maps no table named {name!r}; it maps {names}")
    return [table for table in tables if not wanted or {table.source, table.target} & set(wanted)]


def _projections(pair: Pair, mappings: list[TableMapping], file: str) -> list[Projection]:
    connections = pair.monolith.connection, pair.service.connection
    with _explained():
        return project(mappings, *connections, file, wanted=("select",))


def _walk(pair: Pair, projection: Projection, asked: Verifying) -> Generator[Progress, None, TableVerdict]:
    with _explained():
        table = compared(projection, pair.monolith.connection, pair.service.connection, asked.chunk_rows)
    walk = Walk(
        table=table,
        pair=pair,
        told=asked.told,
        chunk_rows=asked.chunk_rows,
        settle=asked.settle,
        proving=asked.proving,
        keyed=asked.keyed,
    )
    yield from _steps(walk, asked, projection.mapping.target)
    return walk.verdict()


def _steps(walk: Walk, asked: Verifying, target: str) -> Iterator[Progress]:
    if asked.rows is not None:
        return walk.rows(asked.rows[target])
    keys = None if asked.streamed is None else asked.streamed[target]
    return walk.ranges() if keys is None else walk.rows_of_stream(keys)


@contextmanager
def _explained() -> Iterator[None]:
    """Say what kept the catalogues from being read."""
    try:
        yield
    except psycopg.errors.LockNotAvailable as exc:
        raise TimedOut(
            f"a table is locked by somebody else: {first_line(exc)}; run it again when that is over"
        ) from exc
    except psycopg.errors.QueryCanceled as exc:
        raise TimedOut(f"a look at the catalogue was cancelled: {first_line(exc)}; run it at a quieter hour") from exc
    except psycopg.OperationalError as exc:
        raise Unreachable(f"a database went away: {first_line(exc)}") from exc
