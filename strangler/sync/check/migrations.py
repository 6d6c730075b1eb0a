"""What pending migrations of the monolith would do to a sync, and which of its files would stay behind: pure.

What adds to a mapped table passes a stream, and is to be known; what makes other rows of those that are there stops it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from strangler.project import TableMapping
from strangler.sync import outline
from strangler.sync.check.finding import Finding, stop, warn
from strangler.sync.pending import Change, Column, Listing, Operation, plain

WHERE: Final = "monolith's migrations"
FILES: Final = "monolith's files"
NOT_LOOKED_AT: Final = (
    "pending Django migrations are not looked at: say in strangler.toml, under [monolith.manage], how its manage.py is"
    " run, or pipe what manage.py strangler_migrations --json prints into this with --migrations -"
)
_WAY: Final = "apply it before the sync begins, or begin the sync anew after it"
_TYPES: Final = {
    "smallint": 21,
    "smallserial": 21,
    "integer": 23,
    "serial": 23,
    "bigint": 20,
    "bigserial": 20,
    "numeric": 1700,
    "text": 25,
    "varchar": 1043,
    "character varying": 1043,
}
_TYPE: Final = re.compile(r"([a-z ]+?) *(?:\((\d+)(?:, *(\d+))?\))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """A table of the monolith that a mapping uses, with those of its columns that it uses; None for all of them.

    ``keys`` are those by which its rows are told apart, one of each target that it feeds; ``shared`` are the columns
    whose files both stacks reach.
    """

    keys: frozenset[frozenset[str]]
    used: frozenset[str] | None
    shared: frozenset[str] = frozenset()

    def uses(self, column: str | None) -> bool:
        return self.used is None or column in self.used


def mapped(tables: Iterable[TableMapping], used: Mapping[str, frozenset[str]] | None = None) -> dict[str, Mapped]:
    """Return the tables that mappings use; ``used`` are the columns that their targets are made of, by target."""
    found: dict[str, Mapped] = {}
    for each in tables:
        name, key = plain(each.source), frozenset(each.key.values())
        uses = None if used is None else used[each.target] | key | each.reverse.keys()
        keys, shared, before = frozenset([key]), frozenset(each.shared_files), found.get(name)
        if before is not None:  # one table may feed several
            uses = None if uses is None or before.used is None else uses | before.used
            keys, shared = keys | before.keys, shared | before.shared
        found[name] = Mapped(keys=keys, used=uses, shared=shared)
    return found


def judge_migrations(listing: Listing, mapped: Mapping[str, Mapped], database: str) -> list[Finding]:
    """Return what is to be said of what is pending, and of files, where the source is ``database``.

    ``mapped`` is by plain names.
    """
    if listing.vendor != "postgresql" or listing.database not in (None, database):
        there = f"a database of {listing.vendor}" if listing.vendor != "postgresql" else f"database {listing.database}"
        return [
            stop(WHERE, f"manage.py looks into {there}, and the mapping's tables are in {database}; have it look there")
        ]
    return [
        *_files(listing, mapped),
        *_unknown(listing, mapped),
        *(each for operation in listing.operations for each in _judge(operation, mapped)),
    ]


def concerns(operation: Operation, listing: Listing, mapped: Mapping[str, Mapped]) -> bool:
    """Return whether there is something to say of an operation."""
    return any(_judge(operation, mapped)) or bool(operation.unknown and _own(operation, listing, mapped))


def _own(operation: Operation, listing: Listing, mapped: Mapping[str, Mapped]) -> list[str]:
    """Return the mapped tables of the app that an operation belongs to."""
    return sorted(listing.apps.get(operation.app, frozenset()) & mapped.keys())


def _files(listing: Listing, mapped: Mapping[str, Mapped]) -> Iterator[Finding]:
    for each in listing.files:
        table = mapped.get(each.table)
        if table is None or not table.uses(each.column) or each.column in table.shared:
            continue
        columns = json.dumps([*sorted(table.shared), each.column], ensure_ascii=False)
        yield stop(
            FILES,
            f"{each.table}.{each.column} names files, which no stream carries ({each.storage}): let both stacks reach"
            f" that storage, and say so: shared_files = {columns} in its [[table]]",
        )


def _unknown(listing: Listing, mapped: Mapping[str, Mapped]) -> Iterator[Finding]:
    others = []
    for each in filter(lambda operation: operation.unknown, listing.operations):
        own = _own(each, listing, mapped)
        if own:
            yield stop(WHERE, f"{each} runs what nobody can tell, perhaps on {', '.join(own)}: read it, and {_WAY}")
        else:
            others.append(each.name)
    if others:
        named = ", ".join(dict.fromkeys(others))
        yield warn(WHERE, f"{named} run what nobody can tell, in apps without a mapped table: see that it alters none")


def _judge(operation: Operation, mapped: Mapping[str, Mapped]) -> Iterator[Finding]:
    for change in operation.changes:
        table = mapped.get(change.table)
        if table is None:
            yield from _refers(operation, change, mapped)
            continue
        why = _stops(change, table)
        if why is not None:
            yield stop(WHERE, f"{operation}: {why}; {_WAY}")
        else:
            yield warn(WHERE, f"{operation}: {_passes(change, table)}")


def _refers(operation: Operation, change: Change, mapped: Mapping[str, Mapped]) -> Iterator[Finding]:
    new = [*change.references, *filter(None, [change.after.references if change.after else None])]
    old = change.before.references if change.before else None
    for each in new:
        if each in mapped and each != old:
            yield warn(
                WHERE,
                f"{operation}: {change.table}, which is not mapped, will refer to {each}: a delete that comes back once"
                " the service owns the rows is refused while it has such rows",
            )


# --- of a mapped table ---


def _stops(change: Change, table: Mapped) -> str | None:
    """Return why a stream would stop at a change, None where it passes."""
    place = f"{change.table}.{change.column}"
    match change.kind:
        case "table dropped":
            return f"{change.table} is dropped"
        case "table renamed":
            return f"{change.table} is called {change.to} then"
        case "column dropped" if table.uses(change.column):
            return f"{place}, which the mapping uses, is dropped"
        case "column renamed" if table.uses(change.column):
            return f"{place}, which the mapping uses, is called {change.to} then"
        case "column added" if change.after and not (change.after.null or change.after.filled):
            return (
                f"{place} must have a value, and rows that come back from the service have none, so the way back stops;"
                " give it a default in the database (db_default), or let it be NULL"
            )
        case "column altered" if change.before and change.after and table.uses(change.column):
            return _altered(place, change, change.before, change.after, table)
        case "rule dropped" if change.unique and frozenset(change.columns) in table.keys:
            return f"{change.table} may have rows of the same {', '.join(change.columns)} then"
    return None


def _altered(place: str, change: Change, before: Column, after: Column, table: Mapped) -> str | None:
    if not is_wider(before.type, after.type):
        return f"{place} is {after.type} then, and was {before.type}"
    if frozenset([change.column]) in table.keys and before.unique and not after.unique:
        return f"{change.table} may have rows of the same {change.column} then"
    if any(change.column in key for key in table.keys) and after.null:
        return f"{place} is of the mapping's key, and may be NULL then"
    return None


def _passes(change: Change, table: Mapped) -> str:
    place = f"{change.table}.{change.column}"
    match change.kind:
        case "column added":
            return f"{place} passes while a sync runs; the service does not get it"
        case "column altered" if table.uses(change.column):
            return f"{place} passes while a sync runs, if the service's column takes what it takes then{_told(change)}"
        case "rule added" | "rule dropped":
            return f"{change.rule} of {change.table} passes while a sync runs; see that the service's table fits it"
    return f"{place}, which the mapping does not use, passes while a sync runs"


def _told(change: Change) -> str:
    if change.before is None or change.after is None or change.before.type == change.after.type:
        return ""
    return f" ({change.after.type})"


def is_wider(before: str, after: str) -> bool:
    """Return whether all values of a type are the same in another, by the names that Django gives them."""
    if before == after:
        return True
    here, there = _column(before), _column(after)
    return here is not None and there is not None and here.widens(there)


def _column(name: str) -> outline.Column | None:
    match = _TYPE.fullmatch(name)
    if match is None or match[1] not in _TYPES:
        return None
    kind = _TYPES[match[1]]
    numbers = [int(each) for each in match.groups()[1:] if each is not None]
    return outline.Column(name="", type=kind, modifier=_modifier(kind, numbers), shown=name, not_null=False)


def _modifier(kind: int, numbers: Sequence[int]) -> int:
    """Return what ``pg_attribute.atttypmod`` has for a type's numbers."""
    if not numbers:
        return -1
    return 4 + (
        (numbers[0] << 16 | (numbers[1] if len(numbers) > 1 else 0)) if kind == _TYPES["numeric"] else numbers[0]
    )
