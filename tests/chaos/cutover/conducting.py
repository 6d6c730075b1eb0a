"""One move of the owner by the command line, and the troubles that come while it is under way."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from strangler.local import dies_with_parent
from tests.chaos.cutover.bed import CAPABILITY, ROOT, Bed
from tests.chaos.cutover.troubles import TROUBLES
from tests.fixtures.moving import UNSEEN
from tests.fixtures.waiting import until

STEPS: Final = (
    "prepare", "claim source", "claim target", "hold", "fence", "drain", "prove", "switch", "unfence", "finish",
)  # fmt: skip
_CONDUCTOR_S: Final = 120
_END_S: Final = 90
_LOOK_S: Final = 0.02
_WIDTH: Final = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A trouble that comes ``seconds`` after the conductor has done ``step``; None: after it was started."""

    trouble: str
    step: str | None
    seconds: float

    def __str__(self) -> str:
        return f"{self.trouble} {self.seconds:.1f} s after {self.step or 'its start'}"


def drawn(trouble: str, step: str | None, draw: random.Random) -> Hit:
    """Return when a trouble comes: at once after some step, often, or a while later."""
    step = step or draw.choice((None, *STEPS))
    later = draw.uniform(0.0, 4.0 if step is None else 0.4)
    return Hit(trouble=trouble, step=step, seconds=later if step is None or draw.random() < 0.4 else 0.0)


class Conducted:
    """A conductor, and what it has said so far."""

    def __init__(self, bed: Bed, verb: str) -> None:
        self._bed, self.verb = bed, verb
        self.said: list[str] = []
        self.stuck: list[str] = []
        self.befallen: list[Hit] = []
        self._done: dict[str, threading.Event] = {step: threading.Event() for step in STEPS}
        self.process = subprocess.Popen(
            [*dies_with_parent("KILL"), *bed.strangler(verb, CAPABILITY, "--reason", "chaos", *UNSEEN[verb])],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=bed.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "COLUMNS": "300"},
            start_new_session=True,
        )
        self._ear = threading.Thread(target=self._hear)
        self._ear.start()

    @property
    def last(self) -> str:
        """Return the last that it said."""
        return self.said[-1].strip()[:_WIDTH] if self.said else "no word"

    def _hear(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as out:
            for raw in out:
                line = raw.decode()
                self.said.append(line)
                for step, done in self._done.items():
                    if line[1:].strip().startswith(f"{step} "):
                        done.set()

    def suffer(self, hits: Sequence[Hit], draw: random.Random) -> None:
        """Have the troubles come, each in its time, and wait until the move has ended, whoever ended it."""
        hands = [threading.Thread(target=self._suffer, args=(hit, random.Random(draw.random()))) for hit in hits]
        for hand in hands:
            hand.start()
        try:
            self.process.wait(_CONDUCTOR_S)
        except subprocess.TimeoutExpired:
            self.stuck.append(f"{self.verb}: the conductor does not end: {self.said[-5:]}")
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        for thread in (*hands, self._ear):
            thread.join()
        try:
            until(lambda: phase(self._bed) in (None, "done", "aborted"), "the move ends", _END_S)
        except AssertionError:
            self.stuck.append(f"{self.verb}: nobody ends it, {phase(self._bed)}")

    def _suffer(self, hit: Hit, draw: random.Random) -> None:
        if hit.step is not None:
            while not self._done[hit.step].wait(_LOOK_S) and self.process.poll() is None:
                pass
        time.sleep(hit.seconds)
        try:
            if TROUBLES[hit.trouble](self._bed, draw, self.process):
                self.befallen.append(hit)
        except Exception as exc:
            self.stuck.append(f"{hit}: {exc!r}")
            raise


def state(bed: Bed) -> dict[str, Any]:
    """Return what the ledger has of the capability, as soon as it answers."""
    found: dict[str, Any] = {}

    def answers() -> bool:
        found.update(bed.answer("select state from strangler.capability") or {})
        return bool(found)

    until(answers, "the control database answers", 60)
    return found


def phase(bed: Bed) -> str | None:
    move = state(bed).get("move")
    return None if move is None else str(move["phase"])
