"""A draft of a capability's move, from the monolith's live catalogue to files in the project."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from strangler.capability import Stack
from strangler.project import Project
from strangler.project.load import require
from strangler.project.section import NAME, NAME_WANTED
from strangler.routing.table import Route
from strangler.sync.describe import describe
from strangler.sync.draft import Draft, Table, shown, text_of, unwritable
from strangler.sync.draft_schema import draft
from strangler.sync.errors import MappingInvalid, SyncError
from strangler.sync.transfer import open_database

Claims = dict[tuple[str, str], str]
"""Whose a table is, by its schema and name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafted:
    """The draft, and the files that it would be: path to text, in the order in which they are told."""

    draft: Draft
    files: dict[Path, str]
    service: str
    example_route: str | None

    def write(self) -> None:
        """Write the files. Raises ``SyncError`` when one is there already: nothing is written then."""
        there = [path for path in self.files if path.exists()]
        if there:
            names = " and ".join(f"{path.parent.name}/{path.name}" for path in there)
            verb = "is" if len(there) == 1 else "are"
            raise SyncError(
                f"{names} {verb} there already; move away what is there, or leave --write out to see the draft"
            )
        for path, text in self.files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def draft_move(
    project: Project, project_file: Path, capability: str, names: Sequence[str], service: str | None
) -> Drafted:
    """Draft a move of the tables ``names``. Raises ``SyncError`` with everything that keeps one from being drafted."""
    chosen = _service(project, capability, service)
    require(project.monolith.database)
    with open_database(project.monolith.database.reveal(), "monolith's database", "strangler map") as monolith:
        described = describe(monolith, names)
    claimed = _claimed(project, capability)
    _refuse(described.tables, claimed, _taken(project, capability, chosen), chosen)
    made = draft(capability, described, claimed)
    if not made.mapped:
        raise SyncError("none of the tables has a key, so there is nothing to map; add a primary key in the monolith")
    folder = _folder(project, project_file) / capability
    files = {folder / "mapping.toml": made.mapping, folder / "service-schema.sql": made.schema}
    route = None
    if capability not in project.capabilities:
        route = _free_route(project, capability)
        files[folder / "capability.toml"] = _capability(chosen, route)
    return Drafted(draft=made, files=files, service=chosen, example_route=route)


def _service(project: Project, capability: str, service: str | None) -> str:
    known = ", ".join(project.services) or "none yet"
    if not NAME.fullmatch(capability):
        raise SyncError(f"{capability!r} is no capability's name; wanted: {NAME_WANTED}")
    files = project.capabilities.get(capability)
    if files is not None and files.born is Stack.SERVICE:
        raise SyncError(f'{capability} was born in its service (born = "service"): it has no tables in the monolith')
    own = files.service if files is not None else None
    chosen = service or own or (next(iter(project.services)) if len(project.services) == 1 else None)
    if chosen is None:
        raise SyncError(f"{capability} is new to the project: say its service with --service; there: {known}")
    if chosen not in project.services:
        raise SyncError(f"there is no service named {chosen!r} in strangler.toml; there: {known}")
    if own is not None and own != chosen:
        raise SyncError(f"capability.toml of {capability} says service = {own!r}, not {chosen!r}; leave --service out")
    return chosen


def _claimed(project: Project, capability: str) -> Claims:
    """Return the monolith's tables that other capabilities have, each with whose it is."""
    return {
        _parts(table.source): each.name
        for each in project.capabilities.values()
        for table in each.tables
        if each.name != capability and not table.reference
    }


def _taken(project: Project, capability: str, service: str) -> Claims:
    """Return the service's tables that other capabilities map, references too, each with whose it is."""
    return {
        _parts(table.target): each.name
        for each in project.capabilities.values()
        for table in each.tables
        if each.name != capability and each.service == service
    }


def _parts(name: str) -> tuple[str, str]:
    schema, _, table = name.replace('"', "").rpartition(".")
    return schema or "public", table


def _refuse(tables: Sequence[Table], claimed: Claims, taken: Claims, service: str) -> None:
    problems = [
        f"{shown(table.id)} is {claimed[table.id]}'s already: a table belongs to one capability only"
        for table in tables
        if table.id in claimed
    ]
    problems += [
        f"{shown(table.id)} is a table of {service}'s already, mapped by {taken[table.id]}; say another --service"
        for table in tables
        if table.id in taken and table.id not in claimed
    ]
    problems += unwritable(tables)
    if problems:
        raise MappingInvalid(problems)


def _folder(project: Project, project_file: Path) -> Path:
    for each in project.capabilities.values():
        return each.folder.parent
    name = tomllib.loads(project_file.read_text(encoding="utf-8")).get("capabilities", "migrations")
    return project.root / str(name)


def _free_route(project: Project, capability: str) -> str | None:
    taken = [route for each in project.capabilities.values() for route in each.routes]
    for path in (f"/api/{capability}", f"/{capability}"):
        if not any(Route(path=path).overlaps(route) for route in taken):
            return path
    return None


def _capability(service: str, route: str | None) -> str:
    mark = "" if route else "# "
    return (
        f"service = {text_of(service)}\n\n"
        "# The addresses that move with the tables: one at least. This one is an example; name the real ones.\n"
        f"{mark}[[route]]\n{mark}path = {text_of(route or '/api/...')}\n"
    )
