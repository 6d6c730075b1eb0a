"""What a fence stands on, as the catalogue has it, and what of that is not as it should be. No I/O.

A trigger stops every statement that writes to its table. It does not stop what changes the table itself: a partition
attached with rows in it, a table that inherits, a column rewritten with another type, a table swapped for another one,
the trigger disabled by who owns it. None of that is possible while the fence is being raised, which holds a lock on
every table that all of these want. So what the catalogue says then is kept, and whoever compares it later finds them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final

STATEMENT: Final = "strangler_fence"
TRUNCATE: Final = "strangler_fence_truncate"
ROWS: Final = "strangler_fence_rows"
"""On a partitioned table, for each row: parts that are made or attached later take it over, enabled as it is."""
EVENTS: Final = {STATEMENT: "insert or update or delete", TRUNCATE: "truncate", ROWS: "insert or update or delete"}
# The bits of pg_trigger.tgtype: row 1, before 2, insert 4, delete 8, update 16, truncate 32.
_TYPES: Final = {STATEMENT: 2 | 4 | 8 | 16, TRUNCATE: 2 | 32, ROWS: 1 | 2 | 4 | 8 | 16}


class Fires(StrEnum):
    """For whom a trigger fires, as ``pg_trigger.tgenabled`` has it."""

    ALWAYS = "A"
    NEVER = "D"
    ORIGIN = "O"
    REPLICA = "R"


_SHOWN: Final = {
    Fires.ALWAYS: "enabled",
    Fires.NEVER: "disabled",
    Fires.ORIGIN: "enabled, but not for replicas",
    Fires.REPLICA: "enabled for replicas alone",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """A trigger that calls the fence's function. ``xid`` wrote its row of the catalogue last."""

    oid: int
    xid: int
    type: int
    fires: Fires
    conditional: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table, or a part of one. ``storage`` is its file's number: another one, and all of it was written anew.

    ``parent`` is what it is a part of, or inherits from; ``root`` the mapped table above it, None where it is under
    none any more.
    """

    name: str
    owner: str
    partitioned: bool
    partition: bool
    parent: int | None
    root: int | None
    storage: int
    columns: Mapping[str, str] = field(default_factory=dict)
    triggers: Mapping[str, Trigger] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """The function that all triggers of a fence call. ``xid`` wrote its row of the catalogue last."""

    oid: int
    xid: int
    owner: str
    source: str
    plain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """What the mapping's names stand for, all tables by their oid, and the function; None where there is none."""

    names: Mapping[str, int | None]
    tables: Mapping[int, Table]
    function: Function | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_json(cls, kept: Mapping[str, Any]) -> Catalogue:
        function = kept["function"]
        return cls(
            names=kept["names"],
            tables={int(oid): _table(each) for oid, each in kept["tables"].items()},
            function=None if function is None else Function(**function),
        )


def _table(kept: Mapping[str, Any]) -> Table:
    triggers = {name: Trigger(**{**each, "fires": Fires(each["fires"])}) for name, each in kept["triggers"].items()}
    return Table(**{**kept, "triggers": triggers})


# --- as it must be for a fence to hold ---


def wanted(table: Table) -> tuple[str, ...]:
    """Return the triggers that a table must have."""
    return (STATEMENT, TRUNCATE, ROWS) if table.partitioned or table.partition else (STATEMENT, TRUNCATE)


def own(table: Table) -> tuple[str, ...]:
    """Return the triggers that are made on the table itself, and not taken over from what it is a part of."""
    return (STATEMENT, TRUNCATE, ROWS) if table.partitioned and not table.partition else (STATEMENT, TRUNCATE)


def missing(seen: Catalogue) -> dict[int, tuple[str, ...]]:
    """Return which triggers are still to be made, by table."""
    lacking = {
        oid: tuple(name for name in own(table) if name not in table.triggers) for oid, table in fenced(seen).items()
    }
    return {oid: names for oid, names in lacking.items() if names}


def fenced(seen: Catalogue) -> dict[int, Table]:
    """Return the tables that are mapped, and the parts of those, in one order for everybody who locks them."""
    return {
        oid: each for oid, each in sorted(seen.tables.items()) if each.root is not None and not _inherits(oid, each)
    }


def _inherits(oid: int, table: Table) -> bool:
    return table.root != oid and not table.partition


def faults(seen: Catalogue, source: str, fires: Fires) -> Iterator[str]:
    """Yield why the triggers are not such that they all fire so, and call a function with this source."""
    for name, root in seen.names.items():
        if root is None:
            yield f"there is no table {name}"
        elif root not in seen.tables:
            yield f"{name} is no table"
    for oid, table in sorted(seen.tables.items()):
        if table.root is not None and _inherits(oid, table):
            yield _inheriting(table, seen)
    for table in fenced(seen).values():
        yield from _faults_of(table, fires)
    if seen.function is None:
        yield "the fence's function is gone"
    elif seen.function.source != source or not seen.function.plain:
        yield "the fence's function is another one"


def _inheriting(table: Table, seen: Catalogue) -> str:
    parent = seen.tables.get(table.parent or 0)
    above = parent.name if parent else "a mapped table"
    return f"{table.name} inherits from {above}, and no trigger sees what is written to it"


def _faults_of(table: Table, fires: Fires) -> Iterator[str]:
    for name in wanted(table):
        trigger = table.triggers.get(name)
        if trigger is None:
            yield f"{table.name} has no trigger {name}"
        elif trigger.fires is not fires:
            yield f"the trigger {name} of {table.name} is {_SHOWN[trigger.fires]}"
        elif trigger.type != _TYPES[name] or trigger.conditional:
            yield f"the trigger {name} of {table.name} is another one"


# --- as it was when it was raised ---


def drift(kept: Catalogue, seen: Catalogue) -> Iterator[str]:
    """Yield what has changed since the fence was raised, and may have let a write pass: each names its table."""
    for name, oid in kept.names.items():
        now = seen.names.get(name)
        if oid is not None and oid in seen.tables and now is not None and now != oid:
            yield f"{name} is another table now; the one that was fenced is called {seen.tables[oid].name}"
    for oid, before in kept.tables.items():
        there = seen.tables.get(oid)
        if there is None:
            yield f"{before.name} was dropped"
        else:
            yield from _changed(oid, before, there, kept, seen)
    yield from _added(kept, seen)
    yield from _function(kept.function, seen.function)


def _changed(oid: int, before: Table, now: Table, kept: Catalogue, seen: Catalogue) -> Iterator[str]:
    if now.name != before.name:
        yield f"{before.name} is called {now.name} now"
    if now.parent != before.parent and before.root != oid:
        parent = kept.tables.get(before.parent or 0)
        yield f"{before.name} was detached from {parent.name if parent else 'its table'}"
    yield from _columns(before, now)
    if now.storage != before.storage:
        yield f"{before.name} was written anew: by ALTER TABLE, TRUNCATE, CLUSTER or VACUUM FULL"
    yield from _triggers(before, now)


def _columns(before: Table, now: Table) -> Iterator[str]:
    for name, type_ in before.columns.items():
        there = now.columns.get(name)
        if there is None:
            yield f"{before.name}.{name} is not there any more"
        elif there != type_:
            yield f"{before.name}.{name} is {there} now, and was {type_}"
    for name in now.columns.keys() - before.columns.keys():
        yield f"{before.name}.{name} is new"


def _triggers(before: Table, now: Table) -> Iterator[str]:
    for name, trigger in before.triggers.items():
        there = now.triggers.get(name)
        if there is None:
            yield f"the trigger {name} of {now.name} is gone"
        elif there.fires is not trigger.fires:
            yield f"the trigger {name} of {now.name} is {_SHOWN[there.fires]}"
        elif there.oid != trigger.oid:
            yield f"the trigger {name} of {now.name} was made anew, and was not there for a while"
        elif there != trigger:
            yield f"the trigger {name} of {now.name} was altered, and may have been disabled for a while"


def _added(kept: Catalogue, seen: Catalogue) -> Iterator[str]:
    for oid, table in seen.tables.items():
        if oid in kept.tables or table.root is None or table.root not in kept.tables:
            continue
        parent = seen.tables.get(table.parent or 0)
        if table.partition:
            yield f"{table.name} was attached to {parent.name if parent else 'a mapped table'}"
        else:
            yield _inheriting(table, seen)


def _function(before: Function | None, now: Function | None) -> Iterator[str]:
    if now is None:
        yield "the fence's function is gone"
    elif now != before:
        yield "the fence's function was replaced"
