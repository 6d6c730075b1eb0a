"""One direction of one capability: which database its rows come from, where they go, and what belongs to it there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum

import psycopg

from strangler.capability import Stack
from strangler.project import CapabilityFiles, Project, TableMapping
from strangler.project.referred import going_back
from strangler.sync import transfer
from strangler.sync.errors import SyncError
from strangler.sync.intake import OURS
from strangler.sync.mapping import Projection, digest, project


class Way(StrEnum):
    """From the monolith's tables to the service's, or back."""

    FORWARD = "forward"
    REVERSE = "reverse"


def stream_name(capability: str, way: Way) -> str:
    """Return what a stream is called; names of slots have letters, digits and underscores."""
    return f"{OURS}{capability.replace('-', '_')}_{way}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Direction:
    """A stream's name and ends. Its slot, publication and origin are called as it is.

    While the source does not own the rows the stream carries heartbeats alone: it shows that the way is open, and
    applies nothing of what somebody wrote there all the same, since its target is not fenced. ``mapped`` tells of all
    tables that streams carry, in the database of either stack, whose they are.
    """

    capability: str
    way: Way
    tables: tuple[TableMapping, ...]
    source: str
    source_url: str
    target: str
    target_url: str
    file: str
    mapped: Mapping[Stack, Mapping[str, str]] = field(default_factory=dict)

    @property
    def stack(self) -> Stack:
        """The stack whose database is the target."""
        return Stack.SERVICE if self.way is Way.FORWARD else Stack.MONOLITH

    @property
    def claims(self) -> Mapping[str, str]:
        """The capabilities of the tables that are mapped in the target, by their names."""
        return self.mapped.get(self.stack, {})

    @property
    def name(self) -> str:
        return stream_name(self.capability, self.way)

    @property
    def mapping(self) -> str:
        """A digest of how rows are made."""
        return digest(self.tables)

    @contextmanager
    def open(self) -> Iterator[tuple[psycopg.Connection, psycopg.Connection]]:
        """Connect to both ends. Raises ``Unreachable``."""
        with ExitStack() as stack:
            ends = ((self.source_url, self.source), (self.target_url, self.target))
            name = f"strangler {self.capability} {self.way}"
            source, target = (stack.enter_context(transfer.open_database(*each, name)) for each in ends)
            yield source, target

    def projections(self, source: psycopg.Connection, target: psycopg.Connection) -> list[Projection]:
        """Return the tables made fast against both ends, parents first. Raises ``MappingInvalid``."""
        return project(self.tables, source, target, self.file)


def directions(files: CapabilityFiles, setting: Project) -> tuple[Direction, Direction]:
    """Return the way forward and the way back of a capability with tables. Raises ``SyncError`` without any."""
    if not files.tables:
        raise SyncError(
            f"{files.name} has no mapping.toml: it has no rows to keep equal, and no owner that moves;"
            " strangler set moves its readers"
        )
    service = setting.services[files.service]
    forward = Direction(
        capability=files.name,
        way=Way.FORWARD,
        tables=files.tables,
        source="monolith's database",
        source_url=setting.monolith.database.reveal(),
        target=f"{service.name}'s database",
        target_url=service.database.reveal(),
        file=mapping_file(files, setting),
        mapped=_mapped(files, setting),
    )
    return forward, inverted(forward)


def _mapped(files: CapabilityFiles, setting: Project) -> dict[Stack, dict[str, str]]:
    """Return whose the tables are that are mapped in the monolith and in the capability's service, its own first."""
    everybody = [files, *(each for each in setting.capabilities.values() if each.name != files.name)]
    sources = [(table.source, each.name) for each in everybody for table in each.tables]
    targets = [
        (table.target, each.name) for each in everybody if each.service == files.service for table in each.tables
    ]
    return {Stack.MONOLITH: dict(reversed(sources)), Stack.SERVICE: dict(reversed(targets))}


def inverted(forward: Direction) -> Direction:
    """Return the way back: what is a copy for reading only has none."""
    return replace(
        forward,
        way=Way.REVERSE,
        tables=tuple(_inverted(each) for each in going_back(forward.tables)),
        source=forward.target,
        source_url=forward.target_url,
        target=forward.source,
        target_url=forward.source_url,
    )


def _inverted(table: TableMapping) -> TableMapping:
    return TableMapping(
        source=table.target,
        target=table.source,
        key={source: target for target, source in table.key.items()},
        forward=table.reverse,
        reverse=table.forward,
        referred_by=table.referred_by,
        reactions=table.reactions,
    )


def mapping_file(files: CapabilityFiles, setting: Project) -> str:
    """Return the capability's mapping.toml as errors name it."""
    file = files.folder / "mapping.toml"
    return str(file.relative_to(setting.root) if file.is_relative_to(setting.root) else file)
