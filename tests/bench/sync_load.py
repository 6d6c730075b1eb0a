"""What is written to the orders: a stretch of changes to catch up with, and steady writing with its lag."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import psycopg

from tests.bench.rounds import delays
from tests.bench.sync_bed import Bed
from tests.fixtures.waiting import until

# 20 inserts, 20 updates and 10 deletes in each transaction: the oldest go, and those between change all over the table.
# 7,919 is a prime that no span in use is a multiple of, so that the 20 of a transaction are 20 rows.
_STRETCH: Final = """
do $$
declare top bigint; low bigint; span bigint;
begin
  select max(id), min(id) into top, low from purchase where id > 1;
  span := (top - low) / 2;
  for t in 0 .. {transactions} - 1 loop
    insert into purchase
    select n, n % 50000, md5(n::text)::uuid, 'open', n % 100000 / 7.0, 1 + n % 5, repeat('note ', (n % 16)::int), false,
      clock_timestamp(), clock_timestamp()
    from generate_series(top + t * 20 + 1, top + t * 20 + 20) n;
    update purchase set price = price + 1, status = 'sent', updated = clock_timestamp()
    where id = any(array(select low + span + (t * 20 + k) * 7919 % span from generate_series(0, 19) k));
    delete from purchase where id between low + t * 10 and low + t * 10 + 9;
    commit;
  end loop;
end $$
"""
CHANGES_EACH: Final = 50
_PATIENCE_S: Final = 60


def stretch(bed: Bed, changes: int) -> None:
    """Commit so many changes in transactions of 50 each, and see that there were as many."""
    count = "select n_tup_ins + n_tup_upd + n_tup_del from pg_stat_user_tables where relname = 'purchase'"
    [(before,)] = bed.run(bed.source, count)
    with psycopg.connect(bed.source.url("shop"), autocommit=True) as connection:
        connection.execute(_STRETCH.replace("{transactions}", str(changes // CHANGES_EACH)).encode())
        connection.execute("select pg_stat_force_next_flush()")
    [(after,)] = bed.run(bed.source, count)
    assert after - before == changes, f"{after - before} changes were made where {changes} were to be"


CHANGES_IN_TRAFFIC: Final = 10
_LOOK_S: Final = 0.002
# The first order carries the number: the stream keeps the order of commits, so who sees a number sees all before it.
_WRITE: Final = """
with gone as (delete from purchase where id = %s),
  come as (insert into purchase select %s, customer_id, reference, status, price, quantity, note, paid, created, updated
           from purchase where id = 1),
  numbered as (update purchase set quantity = %s where id = 1)
update purchase set price = price + 1, updated = clock_timestamp() where id = any(%s)
"""


@dataclass(slots=True)
class Traffic:
    """Transactions of ten changes all over the table, at a pace, and when each was visible in the target.

    ``sent`` is when each was begun, by ``time.perf_counter``; ``seen`` how many were visible, and since when.
    """

    bed: Bed
    changes_a_second: int
    sent: list[float] = field(default_factory=list)
    seen: list[tuple[float, int]] = field(default_factory=list)

    @property
    def transactions_a_second(self) -> float:
        return self.changes_a_second / CHANGES_IN_TRAFFIC

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """Write, and look at the target, meanwhile; yield when the first has arrived, and wait for the last."""
        over = threading.Event()
        with ThreadPoolExecutor(2) as hands:
            working = [hands.submit(each, over) for each in (self._write, self._look)]
            try:
                until(lambda: self.seen or any(each.done() for each in working), "a change has come", 60)
                yield
            finally:
                over.set()
                for each in working:
                    each.result()

    def delays(self, since: float, to: float) -> list[float]:
        """Return the milliseconds that it took the transactions sent between two instants to be seen."""
        found = zip(self.sent, delays(self.sent, self.seen), strict=True)
        return [1000 * delay for sent, delay in found if since <= sent < to]

    def _write(self, over: threading.Event) -> None:
        chance = random.Random(1)
        with psycopg.connect(self.bed.source.url("shop"), autocommit=True) as source:
            row = source.execute("select min(id), max(id) from purchase where id > 1").fetchone()
            assert row is not None
            low, high = row
            doomed = chance.sample(range(low | 1, high, 2), k=min(200_000, (high - low) // 2))  # odd ones go
            began = time.perf_counter()
            while not over.is_set():
                number = len(self.sent) + 1
                over.wait(began + number / self.transactions_a_second - time.perf_counter())
                changed = [2 * chance.randrange(low // 2 + 1, high // 2) for _ in range(CHANGES_IN_TRAFFIC - 3)]
                self.sent.append(time.perf_counter())
                source.execute(_WRITE, [doomed.pop(), high + number, number, changed])

    def _look(self, over: threading.Event) -> None:
        deadline = None
        count = 0
        with psycopg.connect(self.bed.target.url("shop"), autocommit=True) as target:
            while not (over.is_set() and count == len(self.sent)):
                row = target.execute("select quantity from sale where id = 1").fetchone()
                if row is not None and row[0] > count and self.sent:
                    count = row[0]
                    self.seen.append((time.perf_counter(), count))
                time.sleep(_LOOK_S)
                if over.is_set():
                    deadline = deadline or time.perf_counter() + _PATIENCE_S
                    assert time.perf_counter() < deadline, f"{count} of {len(self.sent)} transactions have come"
