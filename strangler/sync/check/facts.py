"""What is known of one of the two databases before a stream is begun."""

from __future__ import annotations

from dataclasses import dataclass

from strangler.sync.check.shape import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How many places a ``setting`` of the server gives, and how many of them are free."""

    setting: str
    places: int
    free: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The server's own settings.

    ``system`` tells whether two databases are of one server. ``refusal`` is why no replication session could be begun.
    """

    system: str
    version: int
    standby: bool
    wal_level: str
    slots: Room
    senders: Room
    origins: Room
    slot_keeps_mb: int
    refusal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """The sync's own role, and what it may do beside reading and writing tables; ``sees`` what others' sessions do.

    ``others`` are applications that are logged in with it, and are none of ours.
    """

    name: str
    database: str
    replicates: bool
    creates: bool
    stages: bool
    origins_missing: tuple[str, ...]
    relaxes: bool
    sees: bool
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A mapped table as the sync's role finds it. ``sequences`` are those that the role may not set, as SQL names them.

    ``published`` is a source of rows, ``written`` a target of them, ``copied`` one that begins empty; ``conditional``
    when the mapping takes some of its rows only. Of its columns the mapping has the ``key``, and writes ``columns``.
    ``identity`` are those that a change carries of the row that was there, ``whole`` when those are all; ``primary``
    are those of its primary key. ``virtual`` tells of generated columns that are not stored, ``long`` of values that
    the source leaves out where they did not change.
    """

    name: tuple[str, ...]
    published: bool
    written: bool
    copied: bool
    conditional: bool
    owner: str
    acts_as_owner: bool
    owner_creates: bool
    rights_missing: tuple[str, ...]
    sequences: tuple[str, ...]
    key: frozenset[str]
    columns: frozenset[str]
    identity: frozenset[str]
    whole: bool
    primary: frozenset[str]
    virtual: bool
    long: bool
    constrained: bool
    shape: Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two databases; ``begun`` when its slot is there already, ``origins`` how many are still to be made.

    ``closed`` are tables in schemas that the role may not use, ``absent`` those that it sees nowhere.
    """

    what: str
    begun: bool
    publishes: bool
    origins: int
    server: Server
    role: Role
    tables: tuple[Table, ...]
    closed: tuple[tuple[str, ...], ...] = ()
    absent: tuple[tuple[str, ...], ...] = ()
