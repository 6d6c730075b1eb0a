"""What two databases lack to be kept equal: facts in, findings out, each with the statement that mends it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from psycopg import sql

from strangler.sync.check.facts import Role, Room, Side, Table
from strangler.sync.check.finding import Finding, stop, warn
from strangler.sync.check.shape import Standing, judge_shape
from strangler.sync.holding import reading

_OLDEST: Final = 150_000
_NEXT: Final = 190_000  # the first release that was never tried


def judge(sides: Sequence[Side]) -> list[Finding]:
    """Return what stands in the way between the ``sides``, and what is worth knowing."""
    # A table that feeds two others is looked at twice.
    return list(dict.fromkeys([*_rooms(sides), *(finding for side in sides for finding in _side(side))]))


def _rooms(sides: Sequence[Side]) -> Iterator[Finding]:
    """Yield what is short where slots and origins are to be made; two databases of one server share its room."""
    for system in dict.fromkeys(each.server.system for each in sides):
        same = [each for each in sides if each.server.system == system]
        server = same[0].server
        slots = sum(each.publishes and not each.begun for each in same)
        origins = sum(each.origins for each in same)
        yield from _short(
            same[0],
            [
                ("replication slots", server.slots, slots),
                ("WAL senders", server.senders, slots),
                ("replication origins", server.origins, origins),
            ],
        )


def _short(side: Side, rooms: Sequence[tuple[str, Room, int]]) -> Iterator[Finding]:
    short = [(what, room, wanted) for what, room, wanted in rooms if wanted > max(0, room.free)]
    sizes: dict[str, int] = {}
    for _, room, wanted in short:  # one setting may stand for two of them
        sizes[room.setting] = max(sizes.get(room.setting, 0), room.places + wanted - max(0, room.free))
    for what, room, wanted in short:
        yield stop(
            side.what,
            f"{room.setting} leaves room for {max(0, room.free)} {what} of {room.places}, and {wanted} are wanted",
            _setting(room.setting, str(sizes[room.setting])),
            restart=True,
        )


def _side(side: Side) -> Iterator[Finding]:
    yield from _server(side)
    yield from _role(side)
    yield from _tables(side)


def _server(side: Side) -> Iterator[Finding]:
    server = side.server
    if server.version < _OLDEST:
        yield stop(side.what, f"PostgreSQL {server.version // 10_000} is older than 15: routing only")
    elif server.version >= _NEXT:
        yield warn(side.what, f"PostgreSQL {server.version // 10_000} was never tried; 15 to 18 are")
    if server.standby:
        yield stop(side.what, "the server is a standby, which takes no writes; name its primary in the URL")
    if server.wal_level != "logical":
        yield stop(
            side.what,
            f"wal_level is {server.wal_level}: changes are not in the WAL as rows",
            _setting("wal_level", "logical"),
            restart=True,
        )
    if server.slot_keeps_mb < 0:
        yield warn(
            side.what,
            "max_slot_wal_keep_size has no bound: should nobody apply, a slot keeps WAL until the disk is full",
            _setting("max_slot_wal_keep_size", "50GB"),
        )
    if server.refusal is not None:
        yield stop(side.what, f"{server.refusal}; a stream needs the server itself, not a pooler before it")


def _role(side: Side) -> Iterator[Finding]:
    role = side.role
    if not role.replicates:
        yield stop(side.what, f"the role {role.name} may not replicate", _sql("alter role {} replication", role.name))
    if not role.creates:
        yield stop(side.what, f"the role {role.name} may not make its schema", _may_create(role, role.name))
    if not role.stages:
        yield stop(
            side.what,
            f"the role {role.name} may not make the temporary tables that rows come through",
            _sql("grant temporary on database {} to {}", role.database, role.name),
        )
    if role.origins_missing:
        functions = ", ".join(role.origins_missing)
        yield stop(
            side.what,
            f"the role {role.name} may not tag what it writes, so that it would come back",
            _sql(f"grant execute on function {functions} to {{}}", role.name),
        )
    if not role.relaxes and any(each.copied and each.constrained for each in side.tables):
        yield stop(
            side.what,
            f"the role {role.name} may not let a row come before the one that it refers to",
            _sql("grant set on parameter session_replication_role to {}", role.name),
        )
    if side.publishes and not role.sees:
        yield warn(
            side.what,
            f"the role {role.name} does not see what others' transactions do: one that keeps a slot back is named by"
            " its process alone",
            reading(role.name),
        )


def _tables(side: Side) -> Iterator[Finding]:
    role = side.role
    for schema in dict.fromkeys(name[0] for name in side.closed):
        yield stop(
            side.what,
            f"the role {role.name} may not use the schema {schema}",
            _sql("grant usage on schema {} to {}", schema, role.name),
        )
    for name in side.absent:
        yield stop(side.what, f"there is no table {'.'.join(name)}; mend its name, or run what makes it")
    for table in side.tables:
        yield from _rights(side, table)
        yield from _identity(side, table)
        yield from judge_shape(_standing(side, table), table.shape)
    yield from _owners(side)
    yield from _shared(side)


def _standing(side: Side, table: Table) -> Standing:
    return Standing(
        where=side.what,
        name=table.name,
        key=table.key,
        columns=table.columns,
        role=side.role.name,
        published=table.published,
        written=table.written,
        copied=table.copied,
    )


def _rights(side: Side, table: Table) -> Iterator[Finding]:
    role = side.role.name
    if table.rights_missing:
        words = ", ".join(table.rights_missing)
        grant = sql.SQL("grant " + words + " on {} to {}").format(sql.Identifier(*table.name), sql.Identifier(role))
        yield stop(side.what, f"the role {role} may not {words} on {'.'.join(table.name)}", grant.as_string(None))
    for sequence in table.sequences:
        yield stop(
            side.what,
            f"the role {role} may not set {sequence}",
            _sql(f"grant usage, update on sequence {sequence} to {{}}", role),
        )


def _identity(side: Side, table: Table) -> Iterator[Finding]:
    """Yield what ``install`` refuses, too: without, a stream would not know its rows, or the table refuse changes."""
    name = ".".join(table.name)
    if not table.published:
        return
    if not table.key <= table.identity:
        missing = ", ".join(sorted(table.key - table.identity))
        way = "default" if table.key <= table.primary else "full"
        yield stop(
            side.what, f"a change of {name} does not carry {missing} of the row that was there", _carry(table, way)
        )
    elif table.whole and table.virtual:
        yield stop(
            side.what,
            f"published, {name} would refuse every change: its identity is the whole row, and a generated column is not"
            " stored",
            _carry(table, "default"),
        )
    elif not table.whole and table.long and table.conditional:
        yield stop(
            side.what,
            f"a row of {name} may come to fulfil the mapping's condition while the source leaves a long value out that"
            " did not change",
            _carry(table, "full"),
        )


def _carry(table: Table, way: str) -> str:
    return sql.SQL("alter table {} replica identity " + way).format(sql.Identifier(*table.name)).as_string(None)


def _owners(side: Side) -> Iterator[Finding]:
    published = [each for each in side.tables if each.published]
    owners = dict.fromkeys(each.owner for each in published)
    if len(owners) > 1:
        yield stop(
            side.what, f"the tables have several owners ({', '.join(owners)}), and only one may publish them all"
        )
    for owner in owners:
        table = next(each for each in published if each.owner == owner)
        if not table.acts_as_owner:
            yield stop(
                side.what,
                f"the role {side.role.name} may not publish tables of {owner}",
                _sql("grant {} to {}", owner, side.role.name),
            )
        if not table.owner_creates and owner != side.role.name:
            yield stop(side.what, f"{owner}, who owns the tables, may not publish them", _may_create(side.role, owner))


def _shared(side: Side) -> Iterator[Finding]:
    """Yield in what the sync's role is not the sync's alone: a fence shall stop all but the sync."""
    role = side.role.name
    for owner in dict.fromkeys(each.owner for each in side.tables if each.owner == role):
        names = ", ".join(".".join(each.name) for each in side.tables if each.owner == owner)
        yield warn(
            side.what,
            f"the role {role} owns {names}: the sync's own should be a member of the owner, and no more",
            _sql("create role {} login replication in role {}", f"{role}_sync", role),
        )
    if side.role.others:
        yield warn(
            side.what,
            f"others are logged in with the role {role}, too ({', '.join(side.role.others)}): give the sync its own",
            _sql("create role {} login replication", f"{role}_sync"),
        )


def _may_create(role: Role, grantee: str) -> str:
    return _sql("grant create on database {} to {}", role.database, grantee)


def _setting(name: str, value: str) -> str:
    return sql.SQL("alter system set {} = {}").format(sql.Identifier(name), sql.Literal(value)).as_string(None)


def _sql(text: str, *names: str) -> str:
    return sql.SQL(text).format(*map(sql.Identifier, names)).as_string(None)
