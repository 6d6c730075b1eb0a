"""Changes as they come off a stream, gathered into a batch for one transaction of the target. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from strangler.sync.errors import BEGIN_ANEW, FULL, RETYPED, StreamBroken, Widened
from strangler.sync.images import Barrier, Changes, RowKey, filled
from strangler.sync.outline import is_wider
from strangler.sync.pgoutput import (
    Begin,
    Commit,
    Delete,
    Event,
    Insert,
    Message,
    Origin,
    Relation,
    Truncate,
    Tuple,
    Update,
    is_whole,
)

PREFIX: Final = "strangler"
"""Of messages in the WAL that are heartbeats."""
MARKER: Final = "strangler_fence"
"""Of the message that a fence's transaction writes: ``capability epoch``. All that was written before is before it."""
HEARTBEAT: Final = (
    "select pg_logical_emit_message(true, %s, pg_current_xact_id()::text || ' ' || clock_timestamp()::text)"
)
OURS: Final = "strangler_"
"""How the name of a stream begins, and of its slot, its publication and its origin, which are called as it is."""


Seen = Callable[[str, RowKey, int], bool]
"""Whether the row of a key was fetched into a target with what a transaction (of 32 bits) did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A table of the stream, and where it goes: the columns that are staged, each with its type's number, and its key.

    One table may go to several targets; each takes its changes by itself. Where something is declared of rows that
    refer to a target's, it is ``referred`` to.
    """

    name: str
    target: str
    oid: int
    columns: Mapping[str, int]
    key: tuple[str, ...]
    conditional: bool = False
    referred: bool = False


@dataclass(slots=True)
class Place:
    """A target that the changes of a relation go to, as the source describes it now. ``take`` picks the staged columns.

    Where one is ``wary``, updates and deletes are looked at first: the source may be ``mute`` about the key of the row
    that was there, or the mapping have a condition, which wants whole rows. From one that is ``referred`` to it matters
    which transaction lets a row go; with a condition, any update may.
    """

    table: str
    target: str
    key: tuple[int, ...]
    take: tuple[int, ...] | None
    wary: bool
    mute: bool
    referred: bool
    conditional: bool

    def row(self, row: Tuple) -> Tuple:
        return row if self.take is None else tuple([row[at] for at in self.take])

    def key_of(self, row: Tuple) -> RowKey:
        taken = self.row(row)
        return tuple([taken[at] for at in self.key])


@dataclass(slots=True)
class Batch:
    """What is to be applied at once, by target. ``end`` is the position after the last transaction that is whole.

    What one transaction lets go of and a later one makes again has gone, and what is declared of those who refer to it
    is to be done. So the batch is applied when such a row comes, which is ``over`` then: a target, and its key. Such a
    row took 11 ms on two busy cores. To end each batch that deletes took as long for every delete. One that truncates
    where others refer ``ends`` with its transaction, and so does one with a marker, for which somebody waits.
    """

    tables: dict[str, Changes] = field(default_factory=dict)
    over: tuple[str, RowKey] | None = None
    ends: bool = False
    changes: int = 0
    transactions: int = 0
    xids: list[int] = field(default_factory=list)  # of the transactions that have a part in it
    end: int = 0
    heartbeat: bytes | None = None
    markers: list[bytes] = field(default_factory=list)

    def of(self, place: Place) -> Changes:
        found = self.tables.get(place.target)
        if found is None:
            found = self.tables[place.target] = Changes(place.key)
        return found


class Intake:
    """Takes a stream's events in their order.

    ``flush`` is called when what the batch has must be applied, within the same transaction, before what comes next.
    What ``seen`` knows of already is left out. ``described`` is called when the source describes a table, before rows
    come as it says: it may have been altered.
    """

    def __init__(
        self,
        tables: Sequence[Expected],
        since: int,
        flush: Callable[[], None],
        described: Callable[[], None],
        seen: Seen | None = None,
        heard: Callable[[Message], None] | None = None,
    ) -> None:
        self.batch = Batch()
        self.xid: int | None = None  # of the transaction that has begun, and not ended
        self.final = since  # where the transaction commits that began last
        self._expected = tables
        self._ours = False  # the transaction was applied by us, from the other side
        self._places: dict[int, tuple[Place, ...]] = {}
        self._strange: dict[int, str] = {}  # relations that the mapping has not, and what to say of their rows
        self._since = since
        self._skipping = False
        self._left: dict[tuple[str, RowKey], int | None] = {}  # rows that others may refer to, by who let them go
        self._flush = flush
        self._described = described
        self._seen = seen
        self._heard = heard

    def begin_batch(self) -> None:
        """Forget what was applied."""
        # What was applied of a transaction that goes on ends with it: only earlier ones may let go of what it makes.
        self._left = {} if self.xid is None else {key: xid for key, xid in self._left.items() if xid != self.xid}
        self.batch = Batch(end=self.batch.end, xids=[] if self.xid is None else [self.xid])

    def take(self, event: Event) -> None:
        """Take the next event. Raises ``StreamBroken`` for what nobody can apply."""
        if isinstance(event, (Insert, Update, Delete)):
            if not (self._skipping or self._ours):
                self._change(event)
            return
        match event:
            case Begin():
                self.xid, self.final = event.xid, event.final_lsn
                self.batch.xids.append(event.xid)
                self._skipping = event.final_lsn < self._since  # sent again after a session that broke off
            case Origin():
                self._ours = event.name.startswith(OURS)  # before PostgreSQL 16 the server cannot leave it out
            case Commit():
                self._commit(event)
            case Relation():
                self._relate(event)
            case Message():
                self._message(event)
            case Truncate():
                if not (self._skipping or self._ours):
                    self._truncate(event)
            case _:
                pass  # a type's name says nothing that is needed

    def _message(self, event: Message) -> None:
        if not event.transactional:  # it may come before what was committed earlier, and tells nothing of rows
            if self._heard is not None:
                self._heard(event)
            return
        if event.prefix == PREFIX and not self._skipping:
            self.batch.heartbeat = event.content
        elif event.prefix == MARKER and not self._skipping:
            self.batch.markers.append(event.content)
            self.batch.ends = True

    def _change(self, event: Insert | Update | Delete) -> None:
        places = self._places.get(event.relation)
        if places is None:
            raise StreamBroken(self._strange.get(event.relation, "a row came of a table that was never described"))
        for place in places:
            if place.wary and not isinstance(event, Insert):
                _understand(place, event)
            unseen = event if self._seen is None else self._unseen(place, event)
            if unseen is not None:
                self._take_up(place, unseen)

    def _take_up(self, place: Place, event: Insert | Update | Delete) -> None:
        if place.referred:
            self._part(place, event)
        changes = self.batch.of(place)
        try:
            _record(changes, place, event)
        except Barrier:
            self._flush()
            changes = self.batch.of(place)
            _record(changes, place, event)
        self.batch.changes += 1
        if changes.moved is not None:
            self._flush()

    def _part(self, place: Place, event: Insert | Update | Delete) -> None:
        """Note the key of a row that goes. One that an earlier transaction let go is over before it comes again."""
        old = None if isinstance(event, Insert) else event.old
        there = None if isinstance(event, Delete) else (place.target, place.key_of(event.row))
        left = there if old is None else (place.target, place.key_of(old))
        if there is not None and self._left.pop(there, self.xid) != self.xid:
            self.batch.over = there
            self._flush()
        if left is not None and (left != there or (place.conditional and isinstance(event, Update))):
            self._left[left] = self.xid

    def _unseen(self, place: Place, event: Insert | Update | Delete) -> Insert | Update | Delete | None:
        """Return what of a change is to be done to rows that were fetched without it, None for nothing."""
        match event:
            case Insert():
                return None if self._has_seen(place, event.row) else event
            case Delete():
                return None if self._has_seen(place, event.old) else event
            case Update():
                there = self._has_seen(place, event.row)
                left = there if event.old is None else self._has_seen(place, event.old)
                if left and there:
                    return None
                if there and event.old is not None:
                    return Delete(event.xid, event.relation, event.old, event.old_is_key)
                return _arrival(event) if left else event

    def _has_seen(self, place: Place, row: Tuple) -> bool:
        key = place.key_of(row)
        return self._seen is not None and self.xid is not None and self._seen(place.target, key, self.xid)

    def _truncate(self, event: Truncate) -> None:
        for oid in event.relations:
            for place in self._places.get(oid, ()):
                self.batch.of(place).truncate()
                self.batch.changes += 1
                self.batch.ends = self.batch.ends or place.referred

    def _commit(self, event: Commit) -> None:
        self.xid, self._ours = None, False
        if self._skipping:
            return
        self.batch.transactions += 1
        self.batch.end = event.end_lsn

    def _relate(self, relation: Relation) -> None:
        name = f"{relation.schema}.{relation.name}"
        expected = [each for each in self._expected if each.name == name]
        if expected:
            self._described()
            self._places[relation.oid] = tuple([_place(name, each, relation) for each in expected])
            return
        # A part of a partitioned table is described, too, and its changes come as the whole's.
        self._places.pop(relation.oid, None)
        self._strange[relation.oid] = self._complaint(relation.oid, name)

    def _complaint(self, oid: int, name: str) -> str:
        renamed = [each.name for each in self._expected if each.oid == oid]
        if renamed:
            return f"{renamed[0]} is called {name} in the source; {BEGIN_ANEW}"
        return f"the publication tells of {name}, which the mapping has not; leave it to the sync alone"


def _place(name: str, expected: Expected, relation: Relation) -> Place:
    at = {column.name: number for number, column in enumerate(relation.columns)}
    for column, oid in expected.columns.items():
        if column not in at:
            raise StreamBroken(f"{name}.{column} was dropped or renamed in the source; {BEGIN_ANEW}")
        sent = relation.columns[at[column]].type
        if is_wider(oid, sent):
            raise Widened(f"{name}.{column} has a wider type in rows to come than the source has now; {BEGIN_ANEW}")
        if sent != oid and not is_wider(sent, oid):
            raise StreamBroken(f"{name}.{column} has another type in the source; {RETYPED}")
    take = tuple(at[column] for column in expected.columns)
    same = take == tuple(range(len(relation.columns)))
    names = list(expected.columns)
    mute = not {*expected.key} <= {column.name for column in relation.columns if column.is_key}
    return Place(
        table=name,
        target=expected.target,
        key=tuple(map(names.index, expected.key)),
        take=None if same else take,
        wary=mute or expected.conditional,
        mute=mute,
        referred=expected.referred,
        conditional=expected.conditional,
    )


def _understand(place: Place, event: Update | Delete) -> None:
    """Raise ``StreamBroken`` for what would leave the row as it was, or take one for left out that is not."""
    if place.mute:
        raise StreamBroken(
            f"a change of {place.table} does not tell the mapping's key of the row that was there; {FULL}"
        )
    if isinstance(event, Delete) or (event.old is not None and not event.old_is_key):
        return
    if not is_whole(place.row(event.row)):
        raise StreamBroken(
            f"a row of {place.table} came without a long value that did not change, and its mapping has a condition;"
            f" {FULL}"
        )


def _arrival(event: Update) -> Insert | Update:
    """Return an update of a row's key as if there had been no row before."""
    row = event.row if event.old is None or event.old_is_key else filled(event.row, event.old)
    if not is_whole(row):
        return Update(event.xid, event.relation, None, old_is_key=False, row=row)
    return Insert(event.xid, event.relation, row)


def _record(changes: Changes, place: Place, event: Insert | Update | Delete) -> None:
    if isinstance(event, Insert):
        changes.insert(place.row(event.row))
    elif isinstance(event, Update):
        old = None if event.old is None else place.row(event.old)
        changes.update(old, place.row(event.row), old_is_key=event.old_is_key)
    else:
        changes.delete(place.row(event.old))
