"""What a mapping says of code that must run when a table's rows change: its reactions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from strangler.capability import Stack
from strangler.project.referred import bare, going_back
from strangler.project.section import Section
from strangler.project.values import CapabilityFiles, Problem, Reaction, TableMapping

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_NAME_WANTED: Final = "the reaction's name: at most 40 lower-case letters, digits, - and _, starting with a letter"
_STACK: Final = '"monolith" or "service": in whose database rows are applied, and where its code runs'
_SERVICE: Final = '"service": nothing of a reference is ever applied in the monolith'
_COLUMNS: Final = "columns of that stack's table, a change of which matters, and which are told; left out, all of them"


def reactions_of(section: Section, *, reference: bool) -> tuple[Reaction, ...]:
    """Return what a table's section declares to run when its rows change."""
    return tuple(each for one in section.sections("reaction") if (each := _one(one, reference=reference)) is not None)


def _one(section: Section, *, reference: bool) -> Reaction | None:
    name = section.text("name", _NAME_WANTED, check=_is_name)
    stack = section.text(
        "stack",
        _SERVICE if reference else _STACK,
        check=lambda text: _is_stack(text, (Stack.SERVICE,) if reference else tuple(Stack)),
    )
    columns = section.texts("columns", _COLUMNS, default=())
    section.close()
    return Reaction(name=name, stack=Stack(stack), columns=columns) if name and stack else None


def _is_name(text: str) -> None:
    if not _NAME.fullmatch(text):
        raise ValueError


def _is_stack(text: str, stacks: tuple[Stack, ...]) -> None:
    if text not in stacks:
        raise ValueError


def refuse_unheard(own: CapabilityFiles, found: Mapping[str, CapabilityFiles], file: str) -> Iterator[Problem]:
    """Yield what is wrong with reactions: a name that two have, and tables to which the stream brings nothing."""
    before = (files for name, files in found.items() if name < own.name)
    seen = {each.name for files in before for table in files.tables for each in table.reactions}
    back = list(going_back(own.tables))
    for table in own.tables:
        for each in table.reactions:
            key = f"[[{'reference' if table.reference else 'table'}.reaction]]"
            if each.name in seen:
                yield Problem(file=file, key=f"{key} name", found=f"{each.name!r} twice", wanted="a name for each")
            seen.add(each.name)
            if each.stack is Stack.MONOLITH and table not in back:
                other = _sibling(table, back)
                told = f"{each.name!r} in the monolith under {table.target}, of which nothing goes back"
                yield Problem(file=file, key=f"{key} stack", found=told, wanted=f"it under {other}, which goes back")


def _sibling(table: TableMapping, back: list[TableMapping]) -> str:
    return next((one.target for one in back if bare(one.source) == bare(table.source)), "a table")
