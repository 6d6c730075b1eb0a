"""Faults for the chaos to find: ``python -m tests.chaos.cutover.planted FAULT MODULE ...`` patches, then runs a part.

Each takes out of a process of its own what keeps the promise; the code in production knows nothing of it. What cannot
be seen unless something is late is made late as well.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, Final

import psycopg

from strangler.cutover import conductor
from strangler.cutover.protocol import Progress, Step
from strangler.sync import applying, fence, fencing, sequences, watermark
from strangler.sync.applying import Applier, Load
from strangler.sync.direction import Way
from strangler.sync.fence import Moved
from tests.chaos.cutover import stack
from tests.chaos.cutover.crowd import Load as Crowded
from tests.chaos.cutover.running import Plan
from tests.chaos.cutover.stack import Stack

_MAIN: Final[Mapping[str, str]] = {
    "strangler": "strangler.cli.main",
    "tests.chaos.cutover.stack": "tests.chaos.cutover.stack",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is taken out, in a sentence; ``plant`` does it, and ``shows`` are the kinds of which one must be found."""

    what: str
    plant: Callable[[], None]
    shows: Sequence[str]


def _instead(step: Step, act: Callable[[Any, Progress, Callable[[Any, Progress], None]], None]) -> None:
    """Have a conductor do something else at a step; ``act`` gets what it did, too."""
    before = conductor._PERFORMING[step]
    conductor._PERFORMING[step] = lambda conducting, at: act(conducting, at, before)  # type: ignore[index]


def _put(module: ModuleType, name: str, what: object) -> None:
    """Have a module use something else by a name that it imported."""
    setattr(module, name, what)


# --- the conductor ---


def _unfenced_early() -> None:
    def act(conducting: Any, at: Progress, drain: Callable[[Any, Progress], None]) -> None:
        conducting._unfence(at)
        drain(conducting, at)

    _instead(Step.DRAIN, act)


def _not_drained() -> None:
    _instead(Step.DRAIN, lambda conducting, at, drain: None)
    _late_applier()


def _not_fenced() -> None:
    def only_mark(connection: psycopg.Connection, around: fencing.Fence, *, epoch: int, **_: Any) -> Moved:
        with connection.transaction():
            marker = fence._emit(connection, around.capability, epoch)
        return Moved(epoch=epoch, marker=marker, position=marker, locked_ms=0.0, ms=0.0)

    fence.raise_fence = only_mark  # type: ignore[assignment]


def _marked_early() -> None:
    raise_fence, emit = fence.raise_fence, fence._emit

    def marked(connection: psycopg.Connection, around: fencing.Fence, *, epoch: int, **more: Any) -> Moved:
        with connection.transaction():
            emit(connection, around.capability, epoch)
        time.sleep(1.0)  # two batches: what is written meanwhile beside the proxy comes after the marker's
        return raise_fence(connection, around, epoch=epoch, **more)

    fence.raise_fence = marked  # type: ignore[assignment]
    fence._emit = lambda connection, capability, epoch: 0
    _late_applier()


def _aborted_after_the_switch() -> None:
    def act(conducting: Any, at: Progress, switch: Callable[[Any, Progress], None]) -> None:
        switch(conducting, at)
        conducting._lower(at)

    _instead(Step.SWITCH, act)


def _sequences_left() -> None:
    sequences.Carrying.carry_over = lambda self, source, target, margin=0: []  # type: ignore[method-assign]


# --- the fence ---


def _fence_lets_pass() -> None:
    body = "begin if tg_op = 'DELETE' then return old; end if; return new; end"
    _put(fence, "refusing", lambda connection, around, epoch, owner: body)


# --- the applier ---


def _late_applier(seconds: float = 0.4) -> None:
    commit = Applier.commit

    def late(self: Applier, load: Load, *, durable: bool = True) -> None:
        time.sleep(seconds)
        commit(self, load, durable=durable)

    Applier.commit = late  # type: ignore[method-assign]


def _applied_late() -> None:
    """As one that sleeps with a batch in its hand, and asks neither for the watermark nor the fence when it wakes."""
    commit, kept = Applier.commit, dict[int, list[tuple[float, Load]]]()

    def again(self: Applier, load: Load, *, durable: bool = True) -> None:
        mine = kept.setdefault(id(self), [])
        if mine and time.monotonic() - mine[0][0] > 2:
            with suppress(psycopg.errors.IntegrityError):
                self.apply(mine.pop(0)[1])
        elif not mine and load.tables:
            mine.append((time.monotonic(), load))
        commit(self, load, durable=durable)

    Applier.commit = again  # type: ignore[method-assign]
    _put(applying, "advance", lambda *args, **more: watermark.advance(*args, **{**more, "guarded": ()}))


def _applied_twice() -> None:
    apply = Applier.apply

    def twice(self: Applier, load: Load, *, whole: bool = False) -> None:
        apply(self, load, whole=whole)
        apply(self, replace(load, batch=replace(load.batch, transactions=0, changes=0)), whole=whole)

    Applier.apply = twice  # type: ignore[method-assign]


def _transaction_dropped() -> None:
    prepare, seen = Applier.prepare, [0]

    def dropping(self: Applier, batch: Any, *, alone: bool = False) -> Load:
        load = prepare(self, batch, alone=alone)
        if self._direction.way is Way.REVERSE and load.tables:
            seen[0] += 1
            if seen[0] % 10 == 0:
                load.tables.clear()
        return load

    Applier.prepare = dropping  # type: ignore[method-assign]


# --- the stacks ---


def _acknowledged_early() -> None:
    perform, kept = Stack.perform, set[asyncio.Task[None]]()

    async def later(self: Stack, statement: str, values: Mapping[str, Any]) -> None:
        await asyncio.sleep(0.05)
        with suppress(psycopg.Error):
            async with self.connections.one() as connection:
                await perform(self, connection, statement, values)

    async def early(self: Stack, connection: Any, statement: str, values: Mapping[str, Any]) -> None:
        task = asyncio.create_task(later(self, statement, values))
        kept.add(task)
        task.add_done_callback(kept.discard)

    Stack.perform = early  # type: ignore[method-assign]


class _Refused(psycopg.Error):
    sqlstate = stack.FENCED


def _refused_though_saved() -> None:
    perform, seen = Stack.perform, [0]

    async def refused(self: Stack, connection: Any, statement: str, values: Mapping[str, Any]) -> None:
        await perform(self, connection, statement, values)
        seen[0] += 1
        if seen[0] % 50 == 0:
            raise _Refused

    Stack.perform = refused  # type: ignore[method-assign]


def _old_pages() -> None:
    read, kept = Stack._read, dict[str, tuple[float, Any]]()

    async def cached(self: Stack, statement: str, values: Mapping[str, Any]) -> Any:
        key = f"{statement} {dict(values)}"
        at, answer = kept.get(key, (0.0, None))
        if answer is None or time.monotonic() - at > 2:
            answer = await read(self, statement, values)
            kept[key] = (time.monotonic(), answer)
        return answer

    Stack._read = cached  # type: ignore[method-assign]


_LATE: Final = ("lost", "different", "stuck")
FAULTS: Final[Mapping[str, Fault]] = {
    "unfenced-early": Fault(
        what="the target is unfenced before it is drained", plant=_unfenced_early, shows=("both_open", "overlapping")
    ),
    "not-drained": Fault(what="nobody waits for the marker", plant=_not_drained, shows=("lost", "different")),
    "not-fenced": Fault(
        what="the owner moves and nobody has raised the fence",
        plant=_not_fenced,
        shows=("both_open", "overlapping", "lost"),
    ),
    "fence-lets-pass": Fault(
        what="the fence is raised, and lets everybody pass", plant=_fence_lets_pass, shows=("overlapping", "lost")
    ),
    "marked-early": Fault(
        what="the marker is emitted before the tables are locked", plant=_marked_early, shows=("lost", "different")
    ),
    "aborted-after-switch": Fault(
        what="the source is opened again after the switch", plant=_aborted_after_the_switch, shows=("both_open",)
    ),
    "sequences-left": Fault(what="sequences do not count on", plant=_sequences_left, shows=("broken",)),
    "applied-late": Fault(
        what="an applier that slept asks for no watermark and no fence",
        plant=_applied_late,
        shows=("lost", "different", "doubled"),
    ),
    "applied-twice": Fault(what="each batch is applied twice", plant=_applied_twice, shows=("doubled",)),
    "transaction-dropped": Fault(
        what="the way back loses a transaction", plant=_transaction_dropped, shows=("lost", "different")
    ),
    "acknowledged-early": Fault(
        what="a stack acknowledges before it commits", plant=_acknowledged_early, shows=("lost",)
    ),
    "refused-though-saved": Fault(
        what="a stack says that nothing was saved, and it was", plant=_refused_though_saved, shows=("doubled",)
    ),
    "old-pages": Fault(what="a stack answers what it answered before", plant=_old_pages, shows=("stale_reads",)),
}


def plan(name: str, seed: int = 1) -> Plan:
    """Return a short run with a fault in it: no other trouble, and enough traffic that it comes to something."""
    return Plan(
        transitions=3,
        most=6,  # one that does not begin, as on a machine that is too busy for the gates, shows nothing
        seed=seed,
        troubled=0.0,
        load=Crowded(clients=16, think_s=0.1, tasks_per_s=20.0, seed=seed),
        fault=name,
        settle_s=10.0,
    )


def main() -> None:
    fault, module = sys.argv[1:3]
    FAULTS[fault].plant()
    sys.argv = [module, *sys.argv[3:]]
    importlib.import_module(_MAIN[module]).main()


if __name__ == "__main__":
    main()
