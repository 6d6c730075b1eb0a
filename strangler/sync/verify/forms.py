"""How a column is printed, so that equal values are equal bytes on both sides, whatever the two columns' types.

A value has one canonical form. Its text is what a person is shown; its hashed form is what the checksum takes, and is
equal exactly where the texts are. Why not the types' own hashes: they hold for equal what is not the same. numeric's
leaves out the sign, that of eight-byte types folds them to four, an interval of 30 days is a month, and jsonb's and an
array's do not see some exchanges. 0016 in docs/decisions has the figures.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from psycopg import sql

Wrap = Callable[[sql.Composable], sql.Composable]

_INTEGERS: Final = ("smallint", "integer", "bigint")
# Their order is the same in every database, and no setting decides it.
_SAME_ORDER: Final = (
    *_INTEGERS,
    "boolean",
    "bytea",
    "date",
    "numeric",
    "timestamp with time zone",
    "timestamp without time zone",
    "uuid",
)
# Their modifier rounds a value, and a column does so with what is written to it. Others refuse what does not fit.
_ROUNDED: Final = ("interval", "time without time zone", "time with time zone", "timestamp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Type:
    """A column's type below its domains: without modifier (``name``), with it, and as another database may be sent it.

    ``name`` is what the catalogue calls it, ``sent_as`` is text for an enum.
    """

    name: str
    full: str
    sent_as: str


def _wrap(template: str) -> Wrap:
    return lambda value: sql.SQL(template).format(value)


_AS_IS: Final = _wrap("{}")
TEXTS: Final = ("text", "character varying")
BY_BYTES: Final = 'text collate "C"'
_TEXT: Final = _wrap('({})::text collate "C"')
# Numbers in an array's text are not quoted, and nothing else in it has a point.
_NUMBERS: Final = _wrap(
    r"regexp_replace(regexp_replace(({})::text, '(\.[0-9]*[1-9])0+(?=[,}}])', '\1', 'g'), '\.0+(?=[,}}])', '', 'g')"
    ' collate "C"'
)

# Canonical form, and what of it is hashed, by type; all others are hashed as text.
_FORMS: Final[Mapping[str, tuple[Wrap, Wrap]]] = {
    "smallint": (_AS_IS, _AS_IS),
    "integer": (_AS_IS, _AS_IS),
    "bigint": (_AS_IS, _wrap("int8send({})")),
    "boolean": (_AS_IS, _AS_IS),
    "date": (_AS_IS, _AS_IS),
    "uuid": (_AS_IS, _AS_IS),
    "bytea": (_AS_IS, _AS_IS),
    "timestamp with time zone": (_AS_IS, _wrap("timestamptz_send({})")),
    "timestamp without time zone": (_AS_IS, _wrap("timestamp_send({})")),
    "numeric": (_wrap("trim_scale({})"), _wrap("numeric_send({})")),
    "numeric[]": (_NUMBERS, _AS_IS),
    "bpchar[]": (_wrap('({})::text[]::text collate "C"'), _AS_IS),  # its cast takes the padding off
}


def hashed(type_name: str, value: sql.Composable) -> sql.Composable:
    """Return what is hashed of a canonical ``value``."""
    return _FORMS.get(type_name, (_TEXT, _AS_IS))[1](value)


def common(column: Type, given: Type) -> str:
    """Return the type in which a column and what the monolith gives for it are compared.

    json keeps every blank and jsonb none: where one of the two is jsonb both are.
    """
    return "jsonb" if column.name == "json" and given.name == "jsonb" else column.sent_as


def held(column: Type, compared_as: str, value: sql.Composable) -> sql.Composable:
    """Return the canonical form of the column's own ``value``."""
    return _canonical(column, compared_as, _cast(value, compared_as))


def written(column: Type, given: Type, value: sql.Composable) -> sql.Composable:
    """Return the canonical form of a ``value`` of type ``given``, as the column would hold it once it is written."""
    sent = _cast(value, column.sent_as)
    return _canonical(column, common(column, given), _cast(_rounded(column, given, sent), common(column, given)))


def _canonical(column: Type, type_name: str, value: sql.Composable) -> sql.Composable:
    if _scale(column) is not None:
        return value  # all of them have that scale
    return _FORMS.get(type_name, (_TEXT, _AS_IS))[0](value)


def _rounded(column: Type, given: Type, value: sql.Composable) -> sql.Composable:
    if given.full == column.full:
        return value
    scale = _scale(column)
    if scale is not None:  # not a cast: what has too many digits is a difference, and no reason to stop
        return sql.SQL("round({}, {})").format(value, sql.Literal(scale))
    rounds = column.full != column.name and column.name.startswith((*_ROUNDED, "numeric["))
    return _cast(value, column.full) if rounds else value


def _scale(column: Type) -> int | None:
    found = re.fullmatch(r"numeric\([0-9]+,(-?[0-9]+)\)", column.full)
    return int(found[1]) if found else None


def _cast(value: sql.Composable, type_name: str) -> sql.Composed:
    # format_type() quotes what needs quoting, so a type's name from the catalogue is SQL as it stands.
    return sql.SQL("({})::{}").format(value, sql.SQL(type_name))


def ordered_as(source: Type, target: Type) -> str | None:
    """Return the type in which both sides order this key column alike; None: as text, by its bytes."""
    if source.name in _INTEGERS and target.name in _INTEGERS:
        return "bigint"
    if source.full == target.full and source.name in _SAME_ORDER:
        return source.name
    return None


def by_bytes(value: sql.Composable) -> sql.Composable:
    """Return ``value`` as text that is sorted by its bytes, as no locale can change it."""
    return _TEXT(value)
