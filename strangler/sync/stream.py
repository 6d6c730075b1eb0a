"""A stream as it runs: from the source's WAL into the target, batch by batch, for as long as it is wanted.

How much goes into one transaction of the target depends on what is there: as long as more has arrived it is taken
along, and as soon as nothing has, what is whole is applied, while the next batch is gathered already; what trickles in
is so applied 33 times a second, and a first change and a marker at once (ADR 0034). While it catches up it waits for
the target's disk once a second, and tells others only what has come there. When a batch breaks a constraint, the
session begins anew from the watermark with more care: a transaction of the source at a time, then a change at a time,
in the order of the source. What fails even so stops this stream, and no other.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from functools import partial
from typing import Final

import psycopg

from strangler.sync import fencing, identity, install, outline, outlining, reacting, watermark
from strangler.sync.applying import Applier, Load, Outdated
from strangler.sync.check import policies_of
from strangler.sync.direction import Direction
from strangler.sync.ending import seen_by
from strangler.sync.errors import BatchBroken, CannotApply, MappingInvalid, SyncError, Unreachable, Widened
from strangler.sync.filling import relax
from strangler.sync.intake import HEARTBEAT, PREFIX, Expected, Intake
from strangler.sync.landing import Landing, land
from strangler.sync.listening import Listener
from strangler.sync.mapping import Projection
from strangler.sync.pgoutput import DATA, PAYLOAD, Decoder, Event, Keepalive, read_frame, standby_status
from strangler.sync.refusal import Mapped, Refused, told
from strangler.sync.walsender import GATHER_S, Walsender, quoted

# A batch of so many changes costs little more a change than any larger one. What a transaction has beyond twice as many
# goes to the target before it is whole. Two batches are in memory at once.
_MOST: Final = 10_000
_MOST_BYTES: Final = 8 << 20
_BEAT_S: Final = 1.0
# While it catches up: 100,000 changes took 1.27 s when each of ten batches waited for the disk, 1.06 s when none did.
_DURABLE_S: Final = 1.0
# A batch takes 1.4 ms of the applier's processor and 2.6 of the target's, few as its changes may be. 1,200 transactions
# a second came in 125 batches, for 0.91 of a core with the walsender; in 33, for 0.35. See ADR 0034.
_PACE_S: Final = 0.03
# So long what comes meanwhile is left alone, as long as it is little, and whoever reads is not woken for each
# transaction: of 8 s that took 2.67 s of the processor instead of 2.82 (with 4 ms). A marker is seen so much later.
_LULL_S: Final = 0.008
_TRICKLE: Final = 1 << 14  # bytes
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_WITH_ORIGIN: Final = 160_000


class Size(IntEnum):
    """How much is applied at once."""

    MUCH = 0
    TRANSACTION = 1
    CHANGE = 2


@dataclass(frozen=True, slots=True)
class Care:
    """Which size batches have until the transaction that commits at ``until``; after it they are large again."""

    size: Size = Size.MUCH
    until: int = -1

    def after(self, broken: BatchBroken) -> Care:
        """Return the care with which a batch is tried again."""
        return Care(Size(min(self.size + 1, Size.CHANGE)), max(self.until, broken.position))


CARELESS: Final = Care()
Reached = Callable[[int], None]


def follow(
    direction: Direction,
    wanted: Callable[[], bool],
    care: Care = CARELESS,
    *,
    control_url: str | None = None,
    reached: Reached = lambda _: None,
) -> None:
    """Apply what comes, until ``wanted`` says no more; ``reached`` is told up to where all is applied, and stays.

    What is told of writers is counted in the control database.

    Raises ``Unreachable`` or ``psycopg.OperationalError`` when an end is gone, ``BatchBroken`` when a batch breaks a
    constraint and ``CannotApply`` when a single change does, ``Overtaken`` when another process applies,
    ``StreamBroken`` when nobody may go on.
    """
    with ExitStack() as stack:
        source, target = stack.enter_context(direction.open())
        sender = stack.enter_context(
            Walsender(direction.source_url, f"strangler {direction.capability} {direction.way}")
        )
        listener = None if control_url is None else Listener(direction, control_url)
        if listener is not None:
            stack.callback(listener.close)
        _Session(direction, source, target, sender, care, listener, reached).run(wanted)


class _Session:
    def __init__(
        self,
        direction: Direction,
        source: psycopg.Connection,
        target: psycopg.Connection,
        sender: Walsender,
        care: Care,
        listener: Listener | None,
        reached: Reached,
    ) -> None:
        at = watermark.standing(target, direction.name)
        if at is None:
            raise SyncError(f"{direction.name} was never begun")
        install.bring_up(target)
        fencing.bring_up(target, fencing.fence_of(direction))
        reacting.install(target, direction)
        server = sender.server()
        identity.prove_server(server, at, direction.mapping)
        identity.prove_history(sender, source, server, at)
        kept = outlining.kept(at.outline)
        outlining.prove(source, kept, direction.source)  # first: a table that was dropped has left its publication, too
        identity.prove_publication(source, at)
        identity.prove_slot(source, at)
        if server.timeline != at.timeline:
            watermark.keep_timeline(target, at.name, server.timeline)
        try:
            projections = direction.projections(source, target)
        except MappingInvalid:
            outlining.prove(source, kept, direction.source)  # altered just now, it says more
            raise
        target.execute("select pg_replication_origin_session_setup(%s)", [direction.name])
        if at.copying:
            relax(target, projections)
        else:
            reacting.note(target)
        policies = policies_of(direction, projections, target)
        landings = [
            land(each, number, target, policies[each.mapping.target]) for number, each in enumerate(projections)
        ]
        self._direction, self._source, self._sender, self._care = direction, source, sender, care
        self._outline = outlining.outlined(source, landings)
        if self._outline != kept:
            outline.prove(kept or {}, self._outline, direction.source)
            watermark.keep_outline(target, at.name, outlining.dumped(self._outline))
        self._applier = Applier(target, landings, at, direction)
        self._reached = reached
        seen = seen_by(target, direction.name) if at.copying else None
        self._listener = listener
        heard = None if listener is None else listener.take
        self._intake = Intake([_expected(each) for each in landings], at.lsn, self._flush, self._prove, seen, heard)
        self._decoder = Decoder(1)
        self._beat_at = self._idle_at = 0.0
        self._durable_at = time.monotonic() + _DURABLE_S
        self._paced_at = 0.0  # until then what trickles in is gathered
        self._hand = ThreadPoolExecutor(1, thread_name_prefix=direction.name)
        self._pending: Future[None] | None = None
        self._is_open = False  # something was handed over whose transaction is not whole
        self._end = at.lsn  # of what was handed over
        self._bytes = 0
        self._event: Event | None = None  # that came last: where a change is applied alone, it is this one
        self._tables = {each.mapping.target: _mapped(each) for each in projections}
        # Where writers are told of it begins with what the server was told of last, which may be earlier: rows that
        # come again are left out.
        self._again_to = at.lsn if listener is not None and listener.begin() else 0
        self._acknowledged = 0
        begins_at = 0 if self._again_to else at.lsn
        sender.start(direction.name, begins_at, _options(direction.name, source.info.server_version))

    def run(self, wanted: Callable[[], bool]) -> None:
        """Apply until ``wanted`` says no more, or a session must begin anew: the copy has ended, rows were fetched."""
        try:
            while wanted():
                self._turn()
        except Outdated:
            pass
        except Widened:
            if outlining.as_it_is(self._source, self._outline):
                raise
        finally:
            self._hand.shutdown()
            self._applier.abandon()
            with suppress(Unreachable):  # else the next session has the source decode once more what was applied
                self._acknowledge()

    def _turn(self) -> None:
        self._beat()
        if self._pending is not None and self._pending.done():
            self._await()
        came = 0
        for message in self._sender.arrived():
            came += len(message)
            self._take(message)
        whole = self._intake.xid is None and self._intake.batch.transactions > 0
        due = self._paced_at if whole else float("inf")
        patience = max(0.0, min(due, self._beat_at) - time.monotonic())
        gather = _LULL_S if whole and came < _TRICKLE else GATHER_S
        if not self._sender.wait(patience, gather) and time.monotonic() >= due:
            self._commit()

    def _take(self, message: bytes) -> None:
        if message[0] != DATA:
            frame = read_frame(message)
            if isinstance(frame, Keepalive):
                self._idle(frame)
            return
        self._event = self._decoder.decode(message, PAYLOAD)
        self._intake.take(self._event)
        self._bytes += len(message)
        if self._is_open or self._care is not CARELESS or self._intake.batch.ends or self._much(1):
            self._bound()

    def _much(self, times: int) -> bool:
        return self._intake.batch.changes >= times * _MOST or self._bytes >= times * _MOST_BYTES

    def _bound(self) -> None:
        """Have applied what has become enough."""
        batch, between = self._intake.batch, self._intake.xid is None
        if between and batch.transactions and (self._size or self._is_open or batch.ends or self._much(1)):
            self._commit(durable=time.monotonic() >= self._durable_at)
        elif self._much(2) or (self._size is Size.CHANGE and batch.changes):
            self._flush()

    @property
    def _size(self) -> Size:
        return self._care.size if self._end <= self._care.until else Size.MUCH

    def _flush(self) -> None:
        self._hand_over(self._applier.apply)
        self._is_open = True

    def _commit(self, *, durable: bool = True) -> None:
        has_rows = self._intake.batch.changes > 0
        self._hand_over(partial(self._make_whole, durable=durable))
        self._is_open, self._end = False, self._intake.batch.end
        now = time.monotonic()
        if has_rows:  # a heartbeat keeps no row waiting
            self._paced_at = now + _PACE_S
        if durable:
            self._durable_at = now + _DURABLE_S

    def _make_whole(self, load: Load, *, durable: bool) -> None:
        self._applier.commit(load, durable=durable)
        if self._applier.durable and not self._applier.at.copying:  # else rows may still lack that are older
            self._reached(self._applier.durable)

    def _hand_over(self, apply: Callable[[Load], None]) -> None:
        """Have the batch applied while the next is gathered. Raises what became of the one before."""
        batch, size = self._intake.batch, self._size
        load = self._applier.prepare(batch, alone=size is Size.CHANGE)
        self._await()
        self._pending = self._hand.submit(self._try, apply, load, size, self._intake.final, self._event)
        self._intake.begin_batch()
        self._bytes = 0
        if size:
            self._await()

    def _try(self, apply: Callable[[Load], None], load: Load, size: Size, final: int, event: Event | None) -> None:
        try:
            apply(load)
        except psycopg.OperationalError:
            raise
        except CannotApply as exc:
            if size is Size.CHANGE:
                raise
            raise BatchBroken(str(exc), final) from exc
        except psycopg.Error as exc:
            refused = Refused.of(exc)
            if size is Size.CHANGE:
                raise CannotApply(told(load.batch, event, refused, self._tables)) from exc
            raise BatchBroken(str(refused), final) from exc

    def _await(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    # --- time that goes by ---

    def _beat(self) -> None:
        """Once a second: look at what can change unnoticed, write a heartbeat, and tell how far the target is."""
        now = time.monotonic()
        if now < self._beat_at:
            return
        self._beat_at = now + _BEAT_S
        self._prove()
        identity.prove_publication(self._source, self._applier.at)
        self._source.execute(HEARTBEAT, [PREFIX])
        if self._listener is not None:
            self._listener.keep()
        self._acknowledge()

    def _prove(self) -> None:
        """Raise ``StreamBroken`` when a table was altered so that rows are not what was copied any more."""
        outlining.prove(self._source, self._outline, self._direction.source)

    def _idle(self, frame: Keepalive) -> None:
        """Take note that there is nothing up to a position: an idle owner must not look as if it were behind.

        Once a heartbeat at most: where both ends are one server, what is noted here is what the way back takes note of.
        """
        batch = self._intake.batch
        idle = self._intake.xid is None and not batch.transactions and frame.end > self._end
        if idle and time.monotonic() >= self._idle_at:
            self._idle_at = time.monotonic() + _BEAT_S
            batch.end = frame.end
            self._commit()
        if frame.reply_wanted:
            self._acknowledge()

    def _acknowledge(self) -> None:
        """Tell the source what is durable in the target, and what was heard is kept of: it may forget that."""
        # A message's position is that of its end: only what was told before it came has it come again.
        held = self._listener is not None and self._listener.holds
        if not held and self._applier.durable > self._again_to:  # before, what comes again has not all come yet
            self._acknowledged = self._applier.durable
        flushed = self._acknowledged
        clock = int((datetime.now(UTC) - _EPOCH).total_seconds() * 1_000_000)
        self._sender.send(standby_status(flushed, flushed, flushed, clock))


def _expected(landing: Landing) -> Expected:
    mapping, source = landing.projection.mapping, landing.projection.source
    return Expected(
        name=source.qualified,
        target=mapping.target,
        oid=source.oid,
        columns={name: source.columns[name].type_oid for name in landing.columns},
        key=tuple(mapping.key.values()),
        conditional=mapping.where is not None,
        referred=bool(landing.policies),
    )


def _mapped(projection: Projection) -> Mapped:
    mapping, target = projection.mapping, projection.target
    types = {name: target.columns[name].type for name in projection.columns}
    return Mapped(source=projection.source.qualified, target=target.name, key=tuple(mapping.key.values()), types=types)


def _options(name: str, server: int) -> dict[str, str]:
    options = {"proto_version": "1", "publication_names": quoted(name), "messages": "true"}
    return {**options, "origin": "none"} if server >= _WITH_ORIGIN else options
