"""The step that comes next, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from strangler.capability import Command
from strangler.cutover.gates import Verdict
from strangler.playbook.typed import Typed


class Key(StrEnum):
    """What kind of a step it is: by this it is told what can go wrong."""

    LOOK = "look"
    PUBLISH = "publish"
    START = "start"
    COPY = "copy"
    STREAM = "stream"
    OBSERVE = "observe"
    READS = "reads"
    CUTOVER = "cutover"
    MOVE = "move"
    BAR = "bar"
    CLEAR = "clear"
    RETIRE = "retire"
    COPY_KEPT = "copy kept"
    END = "end"


class Measure(StrEnum):
    """The gates that a step has of its own, which are asked of the databases."""

    START = "start"
    CUTOVER = "cutover"
    RETIRE = "retire"


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """Another command that may be typed instead, and when."""

    when: str
    typed: Typed


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What comes next: what it does, and the command, or None where there is nothing to type.

    ``asks`` are the steps of the transition table that the command takes at once, ``gates`` what was measured for it.
    """

    key: Key
    title: str
    does: str
    typed: Typed | None
    asks: tuple[Command, ...] = ()
    gates: tuple[Verdict, ...] = ()
    notes: tuple[str, ...] = ()
    others: tuple[Other, ...] = ()
    measure: Measure | None = None
