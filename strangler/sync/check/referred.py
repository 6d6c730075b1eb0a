"""Whether what the mapping declares of foreign keys from outside fits what is there, and can be carried out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import sql

from strangler.capability import Stack
from strangler.project import OnDelete
from strangler.sync.check.finding import Finding, Level, stop, warn
from strangler.sync.direction import Direction
from strangler.sync.draft import text_of
from strangler.sync.errors import MappingInvalid
from strangler.sync.mapping import Projection
from strangler.sync.referring import NEEDS, Declared, Incoming, Policy, declared, incoming, policies

_RULES: Final = {
    "c": "takes its rows along",
    "n": "empties its columns",
    "d": "sets its columns to their default",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A mapped table that a stream deletes rows of: where it is, its key there, and the role that does so."""

    where: str
    name: str
    key: frozenset[str]
    role: str
    stack: Stack


def judge_referred(at: Target, keys: Sequence[Incoming], declarations: Sequence[Declared]) -> Iterator[Finding]:
    """Yield what is to be said of the foreign keys into a table, and of what is declared of them."""
    for key in keys:
        answer = next((each for each in declarations if key.is_meant(each.referred)), None)
        if answer is None:
            yield _undeclared(at, key)
        else:
            yield from _answered(at, key, answer.referred.on_delete)
    for each in declarations:
        if not any(key.is_meant(each.referred) for key in keys):
            yield from _alone(at, each)


def _undeclared(at: Target, key: Incoming) -> Finding:
    own_rule = OnDelete.CASCADE if key.rule == "c" else OnDelete.SET_NULL if key.rule in _RULES else OnDelete.RESTRICT
    untold = _untold(key, own_rule) if key.enforced else None
    if untold is not None:
        found = f"{key.table} refers to {at.name} ({key.name}), whose own rule {_RULES[key.rule]}: {untold}"
        return stop(at.where, found, _without(key))
    does = _RULES.get(key.rule, "is refused while it has such rows") if key.enforced else "leaves them as they are"
    comes = "comes" if at.stack is Stack.SERVICE else "comes back once the service owns the rows"
    columns = ", ".join(map(text_of, key.columns))
    return warn(
        at.where,
        f"{key.table}, which is not mapped, refers to {at.name} ({key.name}): a delete that {comes} {does}; say what it"
        f" shall do under [[table.referred_by]]: table = {text_of(str(key.table))}, columns = [{columns}],"
        f' stack = "{at.stack}"',
        _without(key),
    )


def _answered(at: Target, key: Incoming, on_delete: OnDelete) -> Iterator[Finding]:
    says = f'{key.table} ({", ".join(key.columns)}), which refers to {at.name}, is declared "{on_delete}"'
    if on_delete is OnDelete.KEEP:
        if key.enforced:
            yield stop(at.where, f"{says}, and the foreign key {key.name} forbids that", _without(key))
        return
    if set(key.to) != at.key:
        yield stop(
            at.where,
            f"{says}, and it does so by {', '.join(key.to)}, while the mapping tells its rows by"
            f" {', '.join(sorted(at.key))}: take the entry away, and the foreign key's own rule stays",
        )
    if on_delete is OnDelete.SET_NULL and key.not_null:
        clause = sql.SQL(", ").join(
            sql.SQL("alter column {} drop not null").format(sql.Identifier(each)) for each in key.not_null
        )
        mend = sql.SQL("alter table {} {}").format(key.table.identifier, clause).as_string(None)
        yield stop(at.where, f"{says}, and {', '.join(key.not_null)} must have a value", mend)
    untold = _untold(key, on_delete)
    if untold is not None:
        yield stop(at.where, f"{says}: {untold}; say restrict or keep")
    yield from _rights(at, key, on_delete, says)


def _rights(at: Target, key: Incoming, on_delete: OnDelete, says: str) -> Iterator[Finding]:
    role = sql.Identifier(at.role)
    if "usage" in key.lacking and NEEDS[on_delete]:
        grant = sql.SQL("grant usage on schema {} to {}").format(sql.Identifier(key.table.schema), role)
        yield stop(
            at.where, f"{says}, and the role {at.role} may not use the schema {key.table.schema}", grant.as_string(None)
        )
    missing = [each for each in NEEDS[on_delete] if each in key.lacking]
    if missing:
        words = ", ".join(missing)
        grant = sql.SQL("grant {} on {} to {}").format(sql.SQL(words), key.table.identifier, role)
        yield stop(at.where, f"{says}, and the role {at.role} may not {words} there", grant.as_string(None))


def _untold(key: Incoming, on_delete: OnDelete) -> str | None:
    """Return why what is written beyond the delete would be lost to a stream, None when it would not.

    What a stream writes is tagged, and so is what rules of foreign keys do then: no other stream takes it along.
    """
    if not on_delete.writes:
        return None
    tables = [] if key.claimed is None else [(str(key.table), key.claimed)]
    tables += key.beyond if on_delete is OnDelete.CASCADE else ()
    if not tables:
        return None
    named = ", ".join(f"{table}, which {capability} maps" for table, capability in tables)
    return f"that would be written in {named}: no stream would take it along"


def _alone(at: Target, each: Declared) -> Iterator[Finding]:
    """Yield what is wrong with what is declared of a foreign key that is not there."""
    told = f"{each.referred.by} ({', '.join(each.referred.columns)})"
    if each.table is None:
        yield stop(
            at.where, f"there is no table {each.referred.by}, which is said to refer to {at.name}; mend its name"
        )
    elif each.lacking:
        yield stop(
            at.where, f"{each.table} has no {', '.join(each.lacking)}, by which it is said to refer to {at.name}"
        )
    elif each.referred.on_delete is not OnDelete.KEEP:
        yield stop(
            at.where,
            f"there is no foreign key of {told} to {at.name}, and what it is to do, {each.referred.on_delete}, would"
            " never be done; make one, say keep, or take the entry away",
        )


def _without(key: Incoming) -> str:
    text = sql.SQL("alter table {} drop constraint {}").format(key.table.identifier, sql.Identifier(key.name))
    return text.as_string(None)


def policies_of(
    direction: Direction, projections: Sequence[Projection], target: psycopg.Connection
) -> dict[str, tuple[Policy, ...]]:
    """Return what the deletes of a stream do to rows outside, by the target table's name in the mapping.

    Raises ``MappingInvalid`` with everything that is declared and cannot be carried out.
    """
    mapped = [each.target.oid for each in projections]
    found: dict[str, tuple[Policy, ...]] = {}
    problems: list[str] = []
    for each in projections:
        keys = list(incoming(target, each.target.oid, mapped, direction.claims))
        referred = [one for one in each.mapping.referred_by if one.stack is direction.stack]
        findings = judge_referred(_target(direction, each, target), keys, [declared(target, one) for one in referred])
        problems += [_line(direction, one) for one in findings if one.level is Level.STOP]
        found[each.mapping.target] = policies(referred, keys)
    if problems:
        raise MappingInvalid(problems)
    return found


def _target(direction: Direction, projection: Projection, target: psycopg.Connection) -> Target:
    return Target(
        where=direction.target,
        name=projection.target.qualified,
        key=frozenset(projection.mapping.key),
        role=target.info.user,
        stack=direction.stack,
    )


def _line(direction: Direction, finding: Finding) -> str:
    mend = f"; run there: {finding.statement}" if finding.statement else ""
    return f"{direction.file}: in the {finding.where}, {finding.found}{mend}"
