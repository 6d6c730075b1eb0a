"""Both databases of a capability looked at, and its mapping tried against them. Nothing is kept."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg

from strangler.capability import Stack
from strangler.project import Referred, TableMapping
from strangler.sync.check.finding import Finding, Level, stop, warn
from strangler.sync.check.judging import judge
from strangler.sync.check.landings import judge_landings
from strangler.sync.check.migrations import Mapped, judge_migrations, mapped
from strangler.sync.check.reading import Place, Wanted, read
from strangler.sync.check.referred import policies_of
from strangler.sync.check.round_trip import travel
from strangler.sync.check.trip import judge_claims, judge_trip
from strangler.sync.direction import Direction, inverted
from strangler.sync.errors import MappingInvalid, RightMissing, TimedOut
from strangler.sync.filling import origins
from strangler.sync.landing import land
from strangler.sync.mapping import Projection
from strangler.sync.pending import Listing


def check(forward: Direction, listing: Listing | None = None) -> list[Finding]:
    """Return what stands in the way of the streams of a capability, pending migrations of the ``listing`` included.

    Raises ``Unreachable``.
    """
    back = inverted(forward)
    with forward.open() as (source, target):
        findings = judge((read(source, _here(forward, back)), read(target, _there(forward, back))))
        findings += _mapping(forward, source, target, findings)
        if listing is not None:
            findings += judge_migrations(listing, _mapped(forward, source, target), source.info.dbname)
        return findings


def refuse_losses(forward: Direction, source: psycopg.Connection, target: psycopg.Connection) -> None:
    """Raise ``MappingInvalid`` for what a stream could not land, and what nobody has acknowledged as lost.

    So for what is declared of foreign keys from outside, and cannot be carried out.
    """
    lost = [each.found for each in _round_trips(forward, source, target) if each.level is Level.STOP]
    if lost:
        raise MappingInvalid([f"{forward.file}: {each}" for each in lost])
    back = inverted(forward)
    policies_of(forward, forward.projections(source, target), target)
    policies_of(back, back.projections(target, source), source)


def _here(forward: Direction, back: Direction) -> Place:
    tables = [
        Wanted(
            name=each.source,
            key=frozenset(each.key.values()),
            columns=frozenset(each.reverse),
            published=True,
            written=not each.reference,
            copied=False,
            conditional=each.where is not None,
            referred_by=_referred_by(each, Stack.MONOLITH),
        )
        for each in forward.tables
    ]
    return Place(
        what=forward.source,
        url=forward.source_url,
        slot=forward.name,
        origins=[back.name],
        tables=tables,
        claims=back.claims,
    )


def _there(forward: Direction, back: Direction) -> Place:
    published = {each.source for each in back.tables}
    tables = [
        Wanted(
            name=each.target,
            key=frozenset(each.key),
            columns=frozenset(each.forward),
            published=each.target in published,
            written=True,
            copied=True,
            referred_by=_referred_by(each, Stack.SERVICE),
        )
        for each in forward.tables
    ]
    names = [forward.name, *origins(forward.name)]
    return Place(
        what=forward.target,
        url=forward.target_url,
        slot=back.name,
        origins=names,
        tables=tables,
        claims=forward.claims,
    )


def _referred_by(table: TableMapping, stack: Stack) -> tuple[Referred, ...]:
    return tuple(each for each in table.referred_by if each.stack is stack)


def _mapped(forward: Direction, source: psycopg.Connection, target: psycopg.Connection) -> dict[str, Mapped]:
    """Return the tables that are mapped, with the columns that are used: all of them while that cannot be told."""
    try:
        with target.transaction(force_rollback=True):
            projections = forward.projections(source, target)
            landings = {each.mapping.target: land(each, number, target) for number, each in enumerate(projections)}
    except (MappingInvalid, psycopg.Error):
        return mapped(forward.tables)
    return mapped(forward.tables, {name: frozenset(each.columns) for name, each in landings.items()})


def _mapping(
    forward: Direction, source: psycopg.Connection, target: psycopg.Connection, findings: list[Finding]
) -> list[Finding]:
    where = forward.file
    if any(each.level is Level.STOP for each in findings):
        # Its expressions are run where they belong, which a right that is missing forbids, too.
        return [warn(where, "the mapping is tried when what stops is mended")]
    try:
        return list(_round_trips(forward, source, target))
    except MappingInvalid as exc:
        return [stop(where, each.removeprefix(f"{where}: ")) for each in exc.problems]


def _round_trips(forward: Direction, source: psycopg.Connection, target: psycopg.Connection) -> Iterator[Finding]:
    """Yield what a stream could not land, and what would not come back from it. Raises ``MappingInvalid``."""
    back = inverted(forward)
    projections, returning = forward.projections(source, target), back.projections(target, source)
    yield from judge_landings(forward, projections, source, target)
    yield from judge_landings(back, returning, target, source)
    way_back = {_ends(each): each for each in returning}
    for each in projections:
        returns = way_back.get(_ends(each)[::-1])
        if returns is not None:
            yield from judge_claims(each, forward.file)
            yield from _round_trip(forward.file, source, target, each, returns)


def _round_trip(
    file: str, source: psycopg.Connection, target: psycopg.Connection, there: Projection, back: Projection
) -> Iterator[Finding]:
    try:
        yield from judge_trip(there, travel(source, target, there, back), file)
    except TimedOut as exc:
        yield warn(file, str(exc))
    except RightMissing as exc:
        yield stop(file, str(exc))


def _ends(projection: Projection) -> tuple[str, str]:
    return projection.mapping.source, projection.mapping.target
