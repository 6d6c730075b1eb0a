"""Who was seen writing a capability's tables: messages of a fence that observes, folded to bounded counts. No I/O.

A message is what ``observe.sql`` says of one statement. Whose it is stands in a comment before the statement, where the
monolith has ``strangler_django``; else in the session's ``application_name``. Both are words that a writer says of
itself, and any session may write such a message: they are read with bounds, shown to people, and decide nothing but
what people are asked to look at.

A statement may hold anything, so of each writer one is kept without its literal values, and cut.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeVar

MOST_WRITERS: Final = 500
"""So many writers of a capability are told apart: more have numbers in their names, and nobody reads them."""
MOST_TABLES: Final = 50
MOST_PAIRS: Final = 200
SAMPLE_MOST: Final = 300
"""So many characters of a statement are kept: enough to find it again in the code."""
NAME_MOST: Final = 200
OTHERS: Final = "(others)"
_CONTENT_MOST: Final = 32_768  # of what 2,000 characters become in JSON, escapes and all
_WINDOW: Final = 10_000  # transactions that are remembered, to see whether they write another capability, too
_COMMENT: Final = re.compile(r"/\* strangler ((?:[a-z]{1,20}=[A-Za-z0-9_.<>:/-]{1,100} ){1,8})\*/ ")
_TRANSACTION: Final = re.compile(r"[0-9]{1,20}")
_CAPABILITY: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_YEARS: Final = range(2000, 2200)  # others are nobody's clock, and not all of them fit into a database and back
K = TypeVar("K")


class Kind(StrEnum):
    """What a statement comes from. A job is what named itself, and is none of the others."""

    ROUTE = "route"
    TASK = "task"
    COMMAND = "command"
    JOB = "job"
    APPLICATION = "application"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Writer:
    """Who wrote, as which role of the database: a route as ``POST /api/reviews/<int:pk>/``, any other by its name."""

    kind: Kind
    name: str
    role: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One statement that was told. ``at`` is by the clock of its database, None where a release before tells."""

    capability: str
    writer: Writer
    table: str
    operation: str
    transaction: str
    statement: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """What one writer was seen doing: how often, since when, to which tables, and by a statement such as ``sample``."""

    number: int
    first_at: datetime
    last_at: datetime
    tables: frozenset[str]
    operations: frozenset[str]
    sample: str

    def plus(self, other: Count) -> Count:
        return Count(
            number=self.number + other.number,
            first_at=min(self.first_at, other.first_at),
            last_at=max(self.last_at, other.last_at),
            tables=frozenset(sorted(self.tables | other.tables)[:MOST_TABLES]),
            operations=self.operations | other.operations,
            sample=self.sample,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """How many transactions were seen, and when."""

    number: int
    first_at: datetime
    last_at: datetime

    def plus(self, other: Times) -> Times:
        return Times(
            number=self.number + other.number,
            first_at=min(self.first_at, other.first_at),
            last_at=max(self.last_at, other.last_at),
        )


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Both:
    """Transactions that ``own`` wrote the capability in, and ``others`` wrote ``other`` in, which is another one."""

    own: Writer
    other: str
    others: Writer


# --- read ---


def parse(content: bytes) -> Told | None:
    """Return what a message tells, None for what no fence has written."""
    if len(content) > _CONTENT_MOST:
        return None
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or not all(isinstance(said.get(key), str) for key in _TEXTS):
        return None
    if said["operation"] not in _OPERATIONS or not _TRANSACTION.fullmatch(said["transaction"]):
        return None
    if not _CAPABILITY.fullmatch(said["capability"]):
        return None
    statement, role = said["statement"], _brief(said["session_user"])
    kind, name = source_of(statement, said["application"])
    return Told(
        capability=said["capability"],
        writer=Writer(kind=kind, name=name, role=role),
        table=_brief(said["table"]),
        operation=said["operation"],
        transaction=said["transaction"],
        statement=statement,
        at=_time(said.get("at")),
    )


_TEXTS: Final = ("capability", "table", "operation", "application", "session_user", "transaction", "statement")
_OPERATIONS: Final = frozenset({"INSERT", "UPDATE", "DELETE", "TRUNCATE"})


def source_of(statement: str, application: str) -> tuple[Kind, str]:
    """Return what a statement comes from: what the comment says that it begins with, else its session's name."""
    found = _COMMENT.match(statement)
    if found is None:
        return Kind.APPLICATION, _brief(application) or "(no application_name)"
    words = dict(word.split("=", 1) for word in found[1].split())
    if "route" in words:
        return Kind.ROUTE, f"{words.get('method', '-')} {words['route']}"
    kind, name = next(iter(words.items()))
    if kind in (Kind.TASK, Kind.COMMAND, Kind.JOB):
        return Kind(kind), name
    return Kind.JOB, f"{kind}={name}"


def _brief(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text[:NAME_MOST]).strip()


def _time(said: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(said) if isinstance(said, str) else None
    except ValueError:
        return None
    return at if at is not None and at.tzinfo is not None and at.year in _YEARS else None


# --- without values ---

# Each alternative takes a character and can match in one way only, so that any text costs what its length is.
# What is not closed was cut, and goes to the end.
_TOKEN: Final = re.compile(
    r"""(?P<comment>/\*)
      | (?P<line>--[^\n]*)
      | (?P<string>[eE]'(?:[^'\\]|\\.|'')*(?:'|\\?\Z) | '(?:[^']|'')*(?:'|\Z))
      | (?P<dollar>\$(?P<tag>(?:[A-Za-z_]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z))
      | (?P<name>"(?:[^"]|"")*(?:"|\Z) | [^\W\d][\w$]*)
      | (?P<number>\$?\.?\d[\w.]*(?:(?<=[eE])[+-]\d+)?)""",
    re.VERBOSE | re.DOTALL,
)
_BOUNDARY: Final = re.compile(r"/\*|\*/")
_LIST: Final = re.compile(r"\?(?:\s*,\s*\?)+")
_ROWS: Final = re.compile(r"(\([?., ]*\))(?:\s*,\s*\([?., ]*\))+")


def without_values(statement: str) -> str:
    """Return a statement without its literal values and comments, on one line, cut."""
    text = " ".join("".join(_pieces(statement)).split())
    text = _ROWS.sub(r"\1, ...", _LIST.sub("?, ...", text))
    text = "".join(each if each.isprintable() else "?" for each in text)
    return text if len(text) <= SAMPLE_MOST else text[: SAMPLE_MOST - 1] + "…"


def _pieces(statement: str) -> Iterator[str]:
    at = 0
    while found := _TOKEN.search(statement, at):
        yield statement[at : found.start()]
        at = found.end()
        if found["comment"]:
            at = _comment_end(statement, at)
            yield " "
        elif found["name"]:
            yield found[0]
        else:
            yield " " if found["line"] else "?"
    yield statement[at:]


def _comment_end(statement: str, at: int) -> int:
    """Return where a comment that is open at ``at`` ends: they nest."""
    depth = 1
    for found in _BOUNDARY.finditer(statement, at):
        depth += 1 if found[0] == "/*" else -1
        if not depth:
            return found.end()
    return len(statement)


# --- folded ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What was seen of one capability since it was empty: a value, to which each statement makes the next."""

    writers: Mapping[Writer, Count] = field(default_factory=dict)
    both: Mapping[Both, Times] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.writers or self.both)


class Folding:
    """Folds what is told in a database, in its order, for one of its capabilities.

    Transactions of which the other capability's part comes are remembered, the last ``_WINDOW`` of them.
    """

    def __init__(self, capability: str) -> None:
        self._capability = capability
        self._writers: dict[Writer, Count] = {}
        self._both: dict[Both, Times] = {}
        self._open: OrderedDict[str, dict[str, Writer]] = OrderedDict()
        self._paired: OrderedDict[tuple[str, Both], None] = OrderedDict()

    def take(self, told: Told, now: datetime) -> None:
        """Count one statement; one without a time is of ``now``."""
        at = told.at or now
        if told.capability == self._capability:
            # Of each writer one sample is kept, so that only the first one is worth the time.
            sample = "" if told.writer in self._writers else without_values(told.statement)
            _add_writer(self._writers, told.writer, _one(told, at, sample))
        self._pair(told, at)

    def __bool__(self) -> bool:
        """Return whether something was counted since it was taken last."""
        return bool(self._writers or self._both)

    def taken(self) -> Tally:
        """Return what was counted since this was asked last."""
        tally = Tally(writers=self._writers, both=self._both)
        self._writers, self._both = {}, {}
        return tally

    def put_back(self, tally: Tally) -> None:
        """Count again what was taken, and could not be kept."""
        for writer, count in tally.writers.items():
            _add_writer(self._writers, writer, count)
        for both, times in tally.both.items():
            _add_both(self._both, both, times)

    def _pair(self, told: Told, at: datetime) -> None:
        there = self._open.setdefault(told.transaction, {})
        self._open.move_to_end(told.transaction)
        if len(self._open) > _WINDOW:
            self._open.popitem(last=False)
        if len(there) < MOST_TABLES:
            there.setdefault(told.capability, told.writer)
        own = there.get(self._capability)
        for other, writer in there.items() if own is not None else ():
            if own is not None and other != self._capability:
                self._count(told.transaction, Both(own=own, other=other, others=writer), at)

    def _count(self, transaction: str, both: Both, at: datetime) -> None:
        """Count a transaction once, whatever the number of its statements."""
        if (transaction, both) in self._paired:
            return
        self._paired[transaction, both] = None
        if len(self._paired) > _WINDOW:
            self._paired.popitem(last=False)
        _add_both(self._both, both, Times(number=1, first_at=at, last_at=at))


def within(known: Tally, more: Tally) -> Tally:
    """Return what is to be added to what is ``known``: beyond the bounds under the name of others."""
    writers: dict[Writer, Count] = {}
    for writer, count in more.writers.items():
        _add_writer(writers, writer, count, known.writers)
    both: dict[Both, Times] = {}
    for pair, times in more.both.items():
        _add_both(both, pair, times, known.both)
    return Tally(writers=writers, both=both)


def _add_writer(counts: dict[Writer, Count], writer: Writer, count: Count, known: Collection[Writer] = ()) -> None:
    """Add to what is counted; beyond ``MOST_WRITERS`` all others are counted as one of their kind."""
    if not _has_room(writer, counts, known, MOST_WRITERS):
        writer, count = Writer(kind=writer.kind, name=OTHERS, role=OTHERS), replace(count, sample="")
    counts[writer] = counts[writer].plus(count) if writer in counts else count


def _add_both(counts: dict[Both, Times], both: Both, times: Times, known: Collection[Both] = ()) -> None:
    """Add to what is counted; beyond ``MOST_PAIRS`` all others are counted as one."""
    if not _has_room(both, counts, known, MOST_PAIRS):
        others = Writer(kind=Kind.APPLICATION, name=OTHERS, role=OTHERS)
        both = Both(own=others, other=OTHERS, others=others)
    counts[both] = counts[both].plus(times) if both in counts else times


def _has_room(key: K, counts: Collection[K], known: Collection[K], most: int) -> bool:
    if key in counts or key in known:
        return True
    new = sum(each not in known for each in counts) if known else len(counts)
    return len(known) + new < most


def _one(told: Told, at: datetime, sample: str) -> Count:
    return Count(
        number=1,
        first_at=at,
        last_at=at,
        tables=frozenset({told.table}),
        operations=frozenset({told.operation}),
        sample=sample,
    )
