"""All streams of a project, kept going: each in a thread of its own, so that what stops one stops no other.

Whoever runs them holds a lock in the control database, which ends with its session: a second process stands by and
takes over when it is gone. Two that believe to hold it at once do no harm, since every batch sets the watermark under a
condition.
"""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final

import psycopg

from strangler.project import Project, ProjectInvalid
from strangler.sync import transfer, watermark
from strangler.sync.announcing import Announcing
from strangler.sync.direction import Direction, directions
from strangler.sync.errors import BatchBroken, Overtaken, SyncError, TimedOut, Unreachable
from strangler.sync.observing import Observing
from strangler.sync.retention import Retention
from strangler.sync.routine import Routine
from strangler.sync.status import is_streamed
from strangler.sync.stream import CARELESS, Reached, follow

_LOG: Final = logging.getLogger("strangler.sync")
# How long a thread of this process keeps the interpreter while another wants it. The one that applies wants it for an
# instant after each answer of its database, and the one that gathers kept it for 5 ms each time: 90,000 changes a
# second then, 125,000 so.
_SWITCH_S: Final = 0.0001
# So many objects are made before cycles are looked for: the rows of a batch, which leave none behind, were looked at 50
# times over.
_CYCLES: Final = 100_000
# Any fixed number does, as long as nobody else takes this advisory lock in the control database.
_LOCK: Final = 0x7374_7265_616D
_LOOK_S: Final = 0.5
_LOOK_FOR_BEGUN_S: Final = 3.0
_GUARD_S: Final = 5.0
_BESIDE_S: Final = 1.0
_END_S: Final = 5.0
# A database that restarts is back within seconds; one that is mended by hand should not be asked all the time.
_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 5.0
_STOPPED_PAUSE_S: Final = 3.0

Wanted = Callable[[], bool]
Look = Callable[[Wanted], None]


def tune() -> None:
    """Have the interpreter do as these threads want it; for a process that does nothing else."""
    sys.setswitchinterval(_SWITCH_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(_CYCLES)


def run(
    project: Project, wanted: Wanted, told: Callable[[str], None] = _LOG.warning, beside: Look | None = None
) -> None:
    """Keep every stream of ``project`` that was begun going, while ``wanted``; stand by while another process does.

    Whoever does so looks at what is ``beside`` the streams once a second, too.
    """
    chosen = [each for files in project.capabilities.values() if files.tables for each in directions(files, project)]
    while wanted():
        try:
            with _alone(project, wanted, told) as alone:
                watches = _Watches(project, told, chosen, beside)
                control_url = project.control.database.reveal()
                keeping = partial(keep, told=told, control_url=control_url)
                _keep_all(chosen, watches, lambda: wanted() and alone(), keeping, Announcing(project))
        except (Unreachable, psycopg.OperationalError) as exc:
            told(f"the control database is away, and nothing is applied meanwhile: {_first_line(exc)}")
            _pause(_FIRST_PAUSE_S, wanted)


@contextmanager
def _alone(project: Project, wanted: Wanted, told: Callable[[str], None]) -> Iterator[Wanted]:
    """Wait until this process holds the lock, and yield what tells whether it still does."""
    with transfer.open_database(project.control.database.reveal(), "control database") as control:
        waiting = False
        while wanted() and not _take(control):
            if not waiting:
                told("another process applies; this one stands by")
            waiting = True
            time.sleep(_LOOK_S)

        def still() -> bool:
            try:
                control.execute("select")
            except psycopg.OperationalError:
                return False
            return True

        yield still


def _take(control: psycopg.Connection) -> bool:
    row = control.execute("select pg_try_advisory_lock(%s)", [_LOCK]).fetchone()
    return bool(row and row[0])


def _keep_all(
    chosen: Sequence[Direction],
    watches: _Watches,
    wanted: Wanted,
    keeping: Callable[..., None],
    announcing: Announcing,
) -> None:
    """Keep every stream that was begun going, those included that are begun meanwhile."""
    over = threading.Event()
    watches.begin(over)
    announcing.begin()
    threads: dict[str, threading.Thread] = {}
    look_at = 0.0
    try:
        while wanted():
            if time.monotonic() >= look_at:
                look_at = time.monotonic() + _LOOK_FOR_BEGUN_S
                for each in _begun(chosen, threads):
                    kept = {"reached": partial(announcing.note, each)}
                    going = (each, lambda: not over.is_set())
                    keeper = threading.Thread(target=keeping, args=going, kwargs=kept, name=each.name)
                    threads[each.name] = keeper
                    keeper.start()
            time.sleep(_LOOK_S)
    finally:
        over.set()
        watches.end()
        for thread in threads.values():
            thread.join()
        announcing.end()


class _Watches:
    """What looks after the streams from time to time, each in a thread of its own."""

    def __init__(
        self, project: Project, told: Callable[[str], None], chosen: Sequence[Direction], beside: Look | None
    ) -> None:
        retention, routine, observing = Retention(project, told), Routine(project, told), Observing(project, told)
        self._told = told
        self._retention = retention
        self._looks: dict[str, tuple[float, Look]] = {
            "retention": (_GUARD_S, lambda _: retention.look(chosen)),
            "routine": (_GUARD_S, routine.look),
            "observing": (_GUARD_S, lambda _: observing.look()),
        }
        if beside is not None:
            self._looks["beside"] = (_BESIDE_S, beside)
        self._threads: list[threading.Thread] = []

    def begin(self, over: threading.Event) -> None:
        for name, (every_s, look) in self._looks.items():
            chosen = (name, look, every_s, over, self._told)
            thread = threading.Thread(target=_watch, args=chosen, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def end(self) -> None:
        for thread in self._threads:
            thread.join(_END_S)  # a comparison may wait for a stream that does not move; it writes nothing
        self._retention.close()


def _watch(name: str, look: Look, every_s: float, over: threading.Event, told: Callable[[str], None]) -> None:
    """Look until it is over. What a look did not foresee is said, and it looks again: nobody would miss the thread."""
    said = ""
    while not over.wait(every_s):
        try:
            look(lambda: not over.is_set())
            said = ""
        except Exception as exc:
            why = f"{name}: this was not foreseen, and it looks again: {type(exc).__name__}: {_first_line(exc)}"
            if why != said:
                told(why)
                _LOG.debug("%s", why, exc_info=True)
            said = why


def _begun(chosen: Sequence[Direction], threads: Mapping[str, threading.Thread]) -> Iterator[Direction]:
    """Yield the streams that were begun and that no live thread keeps."""
    for each in chosen:
        thread = threads.get(each.name)
        if thread is not None and thread.is_alive():
            continue
        try:
            if is_streamed(each):
                yield each
        except (Unreachable, psycopg.Error):
            continue  # it is asked again


def keep(
    direction: Direction,
    wanted: Wanted,
    told: Callable[[str], None] = _LOG.warning,
    *,
    control_url: str | None = None,
    reached: Reached = lambda _: None,
) -> None:
    """Follow one stream while ``wanted`` and until it is removed, whatever happens; say once why it does not go on."""
    care, pause, said = CARELESS, _FIRST_PAUSE_S, ""
    while wanted():
        gc.collect()  # a session holds itself, and what it gathered last; cycles are looked for seldom
        began = time.monotonic()
        try:
            follow(direction, wanted, care, control_url=control_url, reached=reached)
            why = ""
        except BatchBroken as exc:
            before, care = care, care.after(exc)
            if care != before:
                continue
            why = str(exc)
        except (Overtaken, TimedOut) as exc:
            why = str(exc)
        except (Unreachable, psycopg.OperationalError) as exc:
            why = _first_line(exc)
        except (SyncError, ProjectInvalid, psycopg.Error) as exc:
            why = _first_line(exc)
            care = CARELESS
            _note(direction, why)
            pause = _STOPPED_PAUSE_S
        if why and _is_removed(direction):
            return
        if why and why != said:
            told(f"{direction.name}: {why}")
        said = why
        if time.monotonic() - began > _LONGEST_PAUSE_S:
            pause = _FIRST_PAUSE_S
        if why:
            _pause(pause, wanted)
            pause = min(2 * pause, _LONGEST_PAUSE_S)


def _is_removed(direction: Direction) -> bool:
    try:
        return not is_streamed(direction)
    except (Unreachable, psycopg.Error):
        return False


def _note(direction: Direction, why: str) -> None:
    """Leave the reason where whoever asks for the stream's status finds it."""
    try:
        with transfer.open_database(direction.target_url, direction.target) as target:
            watermark.stop(target, direction.name, why)
    except (Unreachable, psycopg.Error):
        pass  # it was told, and is told again


def _pause(seconds: float, wanted: Wanted) -> None:
    until = time.monotonic() + seconds
    while wanted() and time.monotonic() < until:
        time.sleep(min(0.1, seconds))


def _first_line(exc: BaseException) -> str:
    return (str(exc).strip().splitlines() or [repr(exc)])[0]
