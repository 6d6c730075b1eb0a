"""What is known of one of the two databases before a stream is begun."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The server's own settings; ``slots`` and ``senders`` are in all, of which some are free.

    ``system`` tells whether two databases are of one server. ``refusal`` is why no replication session could be begun.
    """

    system: str
    version: int
    wal_level: str
    slots: int
    slots_free: int
    senders: int
    senders_free: int
    slot_keeps_mb: int
    refusal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """The sync's own role, and what it may do beside reading and writing tables."""

    name: str
    database: str
    replicates: bool
    creates: bool
    origins_missing: tuple[str, ...]
    relaxes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A mapped table as the sync's role finds it. ``sequences`` are those that the role may not set, as SQL names them.

    ``published`` is a source of rows, ``written`` a target of them, ``copied`` one that begins empty. ``identity`` are
    the columns that a change carries of the row that was there; ``primary`` those of its primary key.
    """

    name: tuple[str, ...]
    published: bool
    written: bool
    copied: bool
    owner: str
    acts_as_owner: bool
    owner_creates: bool
    rights_missing: tuple[str, ...]
    sequences: tuple[str, ...]
    key: frozenset[str]
    identity: frozenset[str]
    primary: frozenset[str]
    constrained: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two databases; ``begun`` when its slot is there already.

    ``closed`` are tables in schemas that the role may not use, ``absent`` those that it sees nowhere.
    """

    what: str
    begun: bool
    publishes: bool
    server: Server
    role: Role
    tables: tuple[Table, ...]
    closed: tuple[tuple[str, ...], ...] = ()
    absent: tuple[tuple[str, ...], ...] = ()
