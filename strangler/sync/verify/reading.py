"""One side of a table as SQL: the projected rows, their checksums by ranges of keys, and single rows by key.

Both sides are asked with the same statements over an inner SELECT of their own: the projection over the monolith's
table, the columns themselves of the service's. PostgreSQL pulls the inner one up, so a range uses the key's index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql

from strangler.sync.catalogue import identifier
from strangler.sync.mapping import Key
from strangler.sync.verify import forms
from strangler.sync.verify.ranges import Range


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How one side of a table is read.

    ``key`` are the key's columns with their types, ``order`` the same as they are compared, each with its type in
    ``order_types``; ``columns`` are all columns in their canonical form, the key's first. ``walkable`` says
    that an index gives rows in that order; ``index`` which columns it would have to have, None where none can.
    """

    table: str
    key: Mapping[str, str]
    condition: sql.Composable
    order: tuple[sql.Composable, ...]
    order_types: tuple[str, ...]
    columns: tuple[sql.Composable, ...]
    types: tuple[str, ...]
    walkable: bool
    index: str | None

    @property
    def shorter(self) -> str:
        """What makes the statements of this table shorter, as advice."""
        if self.walkable:
            return "ask for smaller ranges with --chunk-rows, or run it at a quieter hour"
        words = "all of it is read at once, since both databases have no index with the key in one order"
        return (
            f"{words}; this is one: create index concurrently on {self.table} ({self.index})" if self.index else words
        )

    def tallies(self, within: Range, bounds: Sequence[Key] = ()) -> sql.Composed:
        """Return the SELECT of the number of each piece that ``bounds`` cut the range into, its rows and checksum.

        Pieces without rows are left out.
        """
        return sql.SQL("select {} as piece, count(*), sum({}) from {} where {} group by 1").format(
            self._piece(bounds, 0, len(bounds)), self._checksum(), self._rows(), self._within(within)
        )

    def bounds(self, within: Range, step: int) -> sql.Composed:
        """Return the SELECT of every ``step``-th key of the range, as arrays of text, in order."""
        return sql.SQL(
            "select key from (select {}, row_number() over (order by {}) as number from {} where {}) as keys"
            " where number % {} = 0 order by number"
        ).format(self._key("key"), self._order(), self._rows(), self._within(within), sql.Literal(step))

    def sample(self, percent: float, size: int) -> sql.Composed:
        """Return the SELECT of keys about ``size`` rows apart, out of ``percent`` of the pages, and of the row count.

        The last row is the estimated count alone.
        """
        step = max(1, round(size * percent / 100))
        return sql.SQL(
            "select key, round(count * 100 / {percent}::numeric)::bigint from (select {key},"
            " row_number() over (order by {order}) as number, count(*) over () as count from {rows}) as keys"
            " where number % {step} = 0 or number = count order by number"
        ).format(
            percent=sql.Literal(percent),
            key=self._key("key"),
            order=self._order(),
            rows=self._rows(
                sql.SQL(" tablesample system ({})").format(sql.Literal(percent)) if percent < 100 else None
            ),
            step=sql.Literal(step),
        )

    def checksums(self, within: Range, limit: int | None = None) -> sql.Composed:
        """Return the SELECT of key and checksum of each row of the range, in order, of the first ``limit`` at most."""
        return sql.SQL("select {}, {} from {} where {} order by {}, 2 limit {}").format(
            self._key("key"), self._checksum(), self._rows(), self._within(within), self._order(), sql.Literal(limit)
        )

    def checksums_of(self, keys: Sequence[Key]) -> sql.Composed:
        """Return the SELECT of key and checksum of those of the ``keys`` that there are."""
        return sql.SQL("select {}, {} from {} order by 2").format(
            self._key("key"), self._checksum(), self._chosen(keys)
        )

    def texts_of(self, keys: Sequence[Key]) -> sql.Composed:
        """Return the SELECT of key and all columns as text of those of the ``keys`` that there are."""
        texts = sql.SQL(", ").join(forms.by_bytes(each) for each in self._columns())
        return sql.SQL("select {}, array[{}] from {} order by 2").format(self._key("key"), texts, self._chosen(keys))

    def spelled(self, keys: Sequence[Key]) -> sql.Composed:
        """Return the SELECT of ``keys`` as all others here spell them; they come as this side's columns are printed."""
        width = len(self.key)
        own = [
            sql.SQL("({})::{} as {}").format(sql.Identifier(f"w{n}"), sql.SQL(kind), sql.Identifier(name))
            for n, (name, kind) in enumerate(self.key.items())
        ]
        named = [sql.SQL("{} as {}").format(self.columns[n], sql.Identifier(f"c{n}")) for n in range(width)]
        return sql.SQL("select distinct {} from (select {} from (select {} from {}) as own) as spelled").format(
            self._key("key"), sql.SQL(", ").join(named), sql.SQL(", ").join(own), _listed(keys, width)
        )

    def _rows(self, sample: sql.Composable | None = None) -> sql.Composed:
        named = [
            *(sql.SQL("{} as {}").format(each, sql.Identifier(f"k{n}")) for n, each in enumerate(self.order)),
            *(sql.SQL("{} as {}").format(each, sql.Identifier(f"c{n}")) for n, each in enumerate(self.columns)),
        ]
        return sql.SQL("(select {} from {}{} where {}) as rows").format(
            sql.SQL(", ").join(named), identifier(self.table), sample or sql.SQL(""), self.condition
        )

    def _chosen(self, keys: Sequence[Key]) -> sql.Composed:
        width = range(len(self.order))
        equal = sql.SQL(" and ").join(
            sql.SQL("{} = ({})::{}").format(sql.Identifier(f"k{n}"), sql.Identifier(f"w{n}"), self._order_type(n))
            for n in width
        )
        return sql.SQL("{} join {} on {}").format(self._rows(), _listed(keys, len(width)), equal)

    def _columns(self) -> list[sql.Identifier]:
        return [sql.Identifier(f"c{n}") for n in range(len(self.columns))]

    def _key(self, name: str) -> sql.Composed:
        texts = sql.SQL(", ").join(sql.SQL("{}::text").format(each) for each in self._columns()[: len(self.order)])
        return sql.SQL("array[{}] as {}").format(texts, sql.Identifier(name))

    def _order(self) -> sql.Composed:
        return sql.SQL(", ").join(sql.Identifier(f"k{n}") for n in range(len(self.order)))

    def _order_type(self, number: int) -> sql.SQL:
        return sql.SQL(self.order_types[number])

    def _checksum(self) -> sql.Composed:
        # A record's hash is a sum over its columns: without the key as the seed of each of them, the sums of two tables
        # would be equal where two rows had only exchanged a value.
        parts = [forms.hashed(kind, column) for kind, column in zip(self.types, self._columns(), strict=True)]
        width = len(self.order)
        if self.types[:width] in (("smallint",), ("integer",), ("bigint",)):
            # As the seed all of the number counts: it need not be hashed as its bytes too.
            return _hash([sql.Identifier("c0"), *parts[1:]], sql.SQL("c0::bigint"))
        return _hash(parts, _hash(parts[:width], sql.SQL("0")))

    def _compare(self, sign: str, key: Key) -> sql.Composed:
        values = sql.SQL(", ").join(
            sql.SQL("{}::{}").format(sql.Literal(value), self._order_type(n)) for n, value in enumerate(key)
        )
        return sql.SQL("({}) {} ({})").format(self._order(), sql.SQL(sign), values)

    def _within(self, within: Range) -> sql.Composable:
        bounds = ((within.low, ">"), (within.high, "<="))
        parts = [self._compare(sign, bound) for bound, sign in bounds if bound is not None]
        return sql.SQL(" and ").join(parts) if parts else sql.SQL("true")

    def _piece(self, bounds: Sequence[Key], first: int, last: int) -> sql.Composable:
        """Return the number of a key's piece by halving: as few comparisons as a search in a sorted list."""
        if first == last:
            return sql.Literal(first)
        middle = (first + last) // 2
        return sql.SQL("case when {} then {} else {} end").format(
            self._compare("<=", bounds[middle]),
            self._piece(bounds, first, middle),
            self._piece(bounds, middle + 1, last),
        )


def _listed(keys: Sequence[Key], width: int) -> sql.Composed:
    """Return keys as rows of texts, ``w0`` and so on."""
    columns = range(width)
    arrays = sql.SQL(", ").join(sql.SQL("{}::text[]").format(sql.Literal([key[n] for key in keys])) for n in columns)
    names = sql.SQL(", ").join(sql.Identifier(f"w{n}") for n in columns)
    return sql.SQL("unnest({}) as wanted({})").format(arrays, names)


def _hash(parts: Sequence[sql.Composable], seed: sql.Composable) -> sql.Composed:
    return sql.SQL("hash_record_extended(row({}), {})").format(sql.SQL(", ").join(parts), seed)
