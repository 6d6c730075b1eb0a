"""What was acknowledged against what both databases hold: pure, and without a word of the toolkit.

A purchase is a row and two lines, written in one transaction under a ``ref`` that its client made, and taken back in
another, never to be written again. An account is one row of a client, whose counter only rises.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

POSITIONS: Final = (1, 2)


def line_value(value: int, position: int) -> int:
    """Return what the line of a purchase says: it tells which purchase it belongs to."""
    return value * 10 + position


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    position: int
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """A purchase as one side holds it. ``number`` is its primary key, ``lines`` are in the order of their positions."""

    number: int
    ref: str
    value: int
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What one database holds at the end. ``repeated`` names what its trigger has seen being written more than once."""

    purchases: Sequence[Purchase]
    accounts: Mapping[int, int]
    repeated: Sequence[str] = ()


@dataclass(slots=True, kw_only=True)
class Said:
    """What the file of acknowledgements says. Values by ref, counters by client: the highest of each kind.

    What was asked to be ``taken_back`` may be there until that is acknowledged, and is ``gone`` then.
    """

    sent: dict[str, int] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    taken_back: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    counted: dict[int, int] = field(default_factory=dict)
    counting: dict[int, int] = field(default_factory=dict)
    acknowledgements: int = 0


def said(lines: Iterable[Mapping[str, Any]]) -> Said:
    """Return what was sent and what was acknowledged."""
    found = Said()
    for line in lines:
        if line["what"] == "sent":
            _send(found, line)
        elif line["what"] == "acknowledged":
            _acknowledge(found, line)
    return found


def _send(found: Said, line: Mapping[str, Any]) -> None:
    if "back" in line:
        found.taken_back.add(line["ref"])
    elif "ref" in line:
        found.sent[line["ref"]] = line["value"]
    else:
        found.counting[line["client"]] = max(line["counter"], found.counting.get(line["client"], 0))


def _acknowledge(found: Said, line: Mapping[str, Any]) -> None:
    found.acknowledgements += 1
    if "back" in line:
        found.gone.add(line["ref"])
    elif "ref" in line:
        found.acknowledged.add(line["ref"])
    else:
        found.counted[line["client"]] = max(line["counter"], found.counted.get(line["client"], 0))


@dataclass(slots=True, kw_only=True)
class Findings:
    """What is not as it must be, a sentence each."""

    lost: list[str] = field(default_factory=list)  # acknowledged, and not there with its value
    doubled: list[str] = field(default_factory=list)  # there, or written, more than once
    torn: list[str] = field(default_factory=list)  # there in part
    strange: list[str] = field(default_factory=list)  # nobody has sent it
    different: list[str] = field(default_factory=list)  # not the same on both sides
    overlapping: list[str] = field(default_factory=list)  # both sides were written at a time


def judge(words: Said, sides: Mapping[str, Side]) -> Findings:
    """Hold both sides against what was acknowledged, and against each other."""
    found = Findings()
    for name, side in sides.items():
        _judge_purchases(name, side, words, found)
        _judge_accounts(name, side, words, found)
        found.doubled += [f"{name}: {each} was written more than once" for each in side.repeated]
    one, other = sides.values()
    found.different += _different(_by_number(one), _by_number(other), "purchase")
    found.different += _different(one.accounts, other.accounts, "account")
    return found


def _judge_purchases(name: str, side: Side, words: Said, found: Findings) -> None:
    times = Counter(each.ref for each in side.purchases)
    found.doubled += [f"{name}: {ref} is there {count} times" for ref, count in times.items() if count > 1]
    there = words.acknowledged - words.taken_back
    found.lost += [f"{name}: {ref} is not there" for ref in sorted(there - times.keys())]
    found.lost += [f"{name}: {ref} was taken back, and is there" for ref in sorted(words.gone & times.keys())]
    for each in side.purchases:
        sent = words.sent.get(each.ref)
        if sent is None:
            found.strange.append(f"{name}: {each.ref}")
            continue
        whole = tuple(Line(position=at, value=line_value(sent, at)) for at in POSITIONS)
        if each.value != sent:
            found.lost.append(f"{name}: {each.ref} is {each.value}, and {sent} was sent")
        elif each.lines != whole:
            found.torn.append(
                f"{name}: {each.ref} of {sent} has {[(line.position, line.value) for line in each.lines]}"
            )


def _judge_accounts(name: str, side: Side, words: Said, found: Findings) -> None:
    for client, counted in words.counted.items():
        counter = side.accounts.get(client, 0)
        if counter < counted:
            found.lost.append(f"{name}: the account of {client} is at {counter}, and {counted} was acknowledged")
    for client, counter in side.accounts.items():
        if counter > words.counting.get(client, 0):
            found.strange.append(f"{name}: the account of {client} is at {counter}")


def _by_number(side: Side) -> dict[int, Purchase]:
    return {each.number: each for each in side.purchases}


def _different(one: Mapping[int, object], other: Mapping[int, object], what: str) -> list[str]:
    keys = sorted(one.keys() | other.keys())
    return [f"{what} {key}: {one.get(key)} and {other.get(key)}" for key in keys if one.get(key) != other.get(key)]


def overlapping(commits: Iterable[tuple[float, str]], moves: int) -> list[str]:
    """Return where the writing side changed more often than the owner moved: then both were written at a time.

    ``commits`` are the times at which who owned a side committed there, by the clock that both servers share.
    """
    ordered = sorted(commits)
    changes = [(after[0], before[1], after[1]) for before, after in pairwise(ordered) if before[1] != after[1]]
    if len(changes) <= moves:
        return []
    told = [f"{at:.3f}: after the {before} the {after} was written" for at, before, after in changes]
    return [f"the writing side changed {len(changes)} times, and the owner moved {moves} times", *told]
