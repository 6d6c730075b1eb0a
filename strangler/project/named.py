"""What runs for a capability beside its routes: tasks, management commands, applications, each by its name.

A name is said whole, or as the beginning that several have, with ``*`` after it: ``reviews.tasks.*``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Final

from strangler.project.section import Section, shown
from strangler.project.values import CapabilityFiles, Problem

KINDS: Final = ("tasks", "commands", "applications")
# As `strangler_django` writes them into the comment before a statement: what is no such character is told as "_" there.
_NAME: Final = re.compile(r"[A-Za-z0-9_.:/-]{1,100}\*?")
_WANTED: Final = {
    "tasks": 'names of tasks such as ["reviews.tasks.recount", "reviews.jobs.*"]',
    "commands": 'names of management commands such as ["import_reviews"]',
    "applications": 'application names of database sessions such as ["review-import"]',
}


def names_of(section: Section, kind: str) -> tuple[str, ...]:
    """Return the names that a capability declares of one kind."""
    return section.texts(kind, _WANTED[kind], default=(), check=_is_name)


def _is_name(text: str) -> None:
    if not _NAME.fullmatch(text):
        raise ValueError("up to 100 letters, digits and _ . : / -, and * at the end where it is a beginning")


def overlap(one: str, other: str) -> bool:
    """Return whether there may be a name that both mean."""
    if one.endswith("*") and other.endswith("*"):
        return one[:-1].startswith(other[:-1]) or other[:-1].startswith(one[:-1])
    return means(one, other) or means(other, one)


def means(said: str, name: str) -> bool:
    """Return whether what is said means this name."""
    return name.startswith(said[:-1]) if said.endswith("*") else name == said


def refuse_shared(found: Mapping[str, CapabilityFiles], files: Mapping[str, str]) -> Iterator[Problem]:
    """Yield what two capabilities both declare; ``files`` are the capabilities' files, as they are shown."""
    for one, other in combinations(found.values(), 2):
        for kind in KINDS:
            for name in _declared(one, kind):
                for same in _declared(other, kind):
                    if overlap(name, same):
                        yield Problem(
                            file=files[other.name],
                            key=kind,
                            found=f"{shown(same)}, which {one.name} has too (as {name!r})",
                            wanted="a name in one capability only: it runs where that one's owner is",
                        )


def _declared(files: CapabilityFiles, kind: str) -> tuple[str, ...]:
    return {"tasks": files.tasks, "commands": files.commands, "applications": files.applications}[kind]
