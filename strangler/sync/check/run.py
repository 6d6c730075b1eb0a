"""Both databases of a capability looked at, and its mapping tried against them. Nothing is written."""

from __future__ import annotations

import psycopg

from strangler.sync.check.judging import Finding, Level, judge
from strangler.sync.check.reading import Place, Wanted, read
from strangler.sync.direction import Direction, inverted
from strangler.sync.errors import MappingInvalid
from strangler.sync.filling import origins


def check(forward: Direction) -> list[Finding]:
    """Return what stands in the way of the streams of a capability. Raises ``Unreachable``."""
    back = inverted(forward)
    with forward.open() as (source, target):
        findings = judge((read(source, _here(forward, back)), read(target, _there(forward, back))))
        return findings + _mapping(forward, source, target, findings)


def _here(forward: Direction, back: Direction) -> Place:
    tables = [
        Wanted(
            name=each.source,
            key=frozenset(each.key.values()),
            published=True,
            written=not each.reference,
            copied=False,
            conditional=each.where is not None,
        )
        for each in forward.tables
    ]
    return Place(what=forward.source, url=forward.source_url, slot=forward.name, origins=[back.name], tables=tables)


def _there(forward: Direction, back: Direction) -> Place:
    tables = [
        Wanted(name=each.target, key=frozenset(each.key), published=not each.reference, written=True, copied=True)
        for each in forward.tables
    ]
    names = [forward.name, *origins(forward.name)]
    return Place(what=forward.target, url=forward.target_url, slot=back.name, origins=names, tables=tables)


def _mapping(
    forward: Direction, source: psycopg.Connection, target: psycopg.Connection, findings: list[Finding]
) -> list[Finding]:
    where = forward.file
    if any(each.level is Level.STOP for each in findings):
        # Its expressions are run where they belong, which a right that is missing forbids, too.
        return [Finding(level=Level.WARN, where=where, found="the mapping is tried when what stops is mended")]
    try:
        forward.projections(source, target)
    except MappingInvalid as exc:
        return [Finding(level=Level.STOP, where=where, found=each) for each in exc.problems]
    return []
