"""What a mapping says of foreign keys from outside its capability: who refers, and what becomes of that on a delete."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from strangler.capability import Stack
from strangler.project.section import Check, Section
from strangler.project.values import CapabilityFiles, OnDelete, Problem, Referred, TableMapping

TABLE: Final = re.compile(r'(?:[^".]+|"[^".]+")(?:\.(?:[^".]+|"[^".]+"))?')
_BY: Final = 'the table that refers, such as "notes_note" or "public.notes_note"'
_COLUMNS: Final = 'its columns that refer, in any order, such as ["review_id"]'
_STACK: Final = '"monolith" or "service": in whose database it refers'
_SERVICE: Final = '"service": nothing of a reference goes back, so that no stream deletes its rows in the monolith'
_ON_DELETE: Final = " or ".join(f'"{each}"' for each in OnDelete)


def bare(table: str) -> str:
    """Return a table's name without quotes and the schema that is meant when none is named."""
    return ".".join(part.strip('"') for part in table.split(".")).removeprefix("public.")


def referred_of(section: Section, *, reference: bool) -> tuple[Referred, ...]:
    """Return what a table's section declares of those who refer to it."""
    declared = [each for one in section.sections("referred_by") if (each := _one(one, reference=reference)) is not None]
    seen: set[object] = set()
    for each in declared:
        same = (each.stack, bare(each.by), frozenset(each.columns))
        if same in seen:
            section.problem("[[referred_by]] table", f"{_told(each)} twice", "one answer for each foreign key")
        seen.add(same)
    return tuple(declared)


def _one(section: Section, *, reference: bool) -> Referred | None:
    by = section.text("table", _BY, check=_is_table)
    columns = section.texts("columns", _COLUMNS)
    stack = section.text(
        "stack", _SERVICE if reference else _STACK, check=_one_of(*((Stack.SERVICE,) if reference else Stack))
    )
    on_delete = section.text("on_delete", _ON_DELETE, check=_one_of(*OnDelete))
    section.close()
    if not (by and columns and stack and on_delete):
        return None
    return Referred(by=by, columns=columns, stack=Stack(stack), on_delete=OnDelete(on_delete))


def _is_table(text: str) -> None:
    if not TABLE.fullmatch(text):
        raise ValueError


def _one_of(*values: str) -> Check:
    def check(text: str) -> None:
        if text not in values:
            raise ValueError

    return check


def refuse_untold(own: CapabilityFiles, found: Mapping[str, CapabilityFiles], file: str) -> Iterator[Problem]:
    """Yield what is wrong with tables that are said to refer, and are mapped themselves.

    What a stream writes is tagged, and no other stream takes it along: a table that has one of its own must not be
    written beside it. Nor does a stream delete rows in the monolith of a table that does not go back.
    """
    back = list(going_back(own.tables))
    for table in own.tables:
        for each in table.referred_by:
            key = f"[[{'reference' if table.reference else 'table'}.referred_by]] table"
            if bare(each.by) in _names(own.tables, each.stack, written=True):
                told = f"{_told(each)}, which this capability maps itself"
                yield Problem(file=file, key=key, found=told, wanted="a table from outside, or no entry for this one")
                continue
            if each.stack is Stack.MONOLITH and table not in back:
                [other] = [one.target for one in back if bare(one.source) == bare(table.source)]
                told = (
                    f"{_told(each)} under {table.target}, of which nothing goes back: no stream deletes its rows there"
                )
                yield Problem(file=file, key=key, found=told, wanted=f"it under {other}, which goes back")
                continue
            claimed = _claim(each, own, found)
            if claimed is not None and each.on_delete.writes:
                told = f"{_told(each)} to {each.on_delete}, which {claimed} maps: its stream would not take that along"
                yield Problem(file=file, key=key, found=told, wanted='"restrict" or "keep" for on_delete')


def going_back(tables: Sequence[TableMapping]) -> Iterator[TableMapping]:
    """Yield those of a capability's tables that go back to the monolith's.

    Of several tables that are made of one, that goes back which gives its columns: rows of two cannot be one again.
    """
    for each in tables:
        siblings = [other for other in tables if bare(other.source) == bare(each.source) and not other.reference]
        if siblings and each is max(siblings, key=lambda sibling: bool(sibling.reverse)):
            yield each


def _claim(referred: Referred, own: CapabilityFiles, found: Mapping[str, CapabilityFiles]) -> str | None:
    """Return the capability that maps the referring table."""
    for each in found.values():
        same = referred.stack is Stack.MONOLITH or each.service == own.service
        if same and bare(referred.by) in _names(each.tables, referred.stack):
            return each.name
    return None


def _names(tables: tuple[TableMapping, ...], stack: Stack, *, written: bool = False) -> set[str]:
    """Return what mapped tables are called in a stack; if ``written``, of those that a stream writes there."""
    if stack is Stack.SERVICE:
        return {bare(each.target) for each in tables}
    return {bare(each.source) for each in tables if not (written and each.reference)}


def _told(each: Referred) -> str:
    return f"{each.by} ({', '.join(each.columns)}) in the {each.stack}"
