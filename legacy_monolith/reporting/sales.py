"""What was sold, counted by the database: closing a day, and reading the days that are closed."""

import zlib
from datetime import UTC, datetime, time, timedelta

from django.db import connection, transaction

# Revenue is what lines cost, before coupons and postage. An order counts on the day that it was paid, unless it was
# cancelled since: closing the day again takes it out.
CLOSE_DAYS = """
WITH counted AS (
    SELECT (event.at AT TIME ZONE 'UTC')::date AS day, product.category_id,
        count(DISTINCT line.order_id) AS orders, sum(line.quantity) AS units, sum(line.quantity * line.price) AS revenue
    FROM orders_orderevent event
    JOIN orders_order bought ON bought.id = event.order_id
    JOIN orders_orderline line ON line.order_id = bought.id
    JOIN catalog_product product ON product.id = line.product_id
    WHERE event.kind = 'paid' AND event.at >= %(begin)s AND event.at < %(end)s
        AND bought.status IN ('paid', 'shipped') AND bought.deleted_at IS NULL
    GROUP BY 1, 2
), gone AS (
    DELETE FROM reporting_dailysales
    WHERE day BETWEEN %(first)s AND %(last)s
        AND (day, category_id) NOT IN (SELECT day, category_id FROM counted)
), closed AS (
    INSERT INTO reporting_dailysales AS known (day, category_id, orders, units, revenue, closed_at)
    SELECT day, category_id, orders, units, revenue, now() FROM counted ORDER BY day, category_id
    ON CONFLICT (day, category_id) DO UPDATE
    SET orders = excluded.orders, units = excluded.units, revenue = excluded.revenue, closed_at = excluded.closed_at
    WHERE (known.orders, known.units, known.revenue)
        IS DISTINCT FROM (excluded.orders, excluded.units, excluded.revenue)
)
SELECT count(DISTINCT category_id), coalesce(sum(revenue), 0) FROM counted
"""

# Every day has its row, also one on which nothing was sold. The average is that of the week that ends with the day,
# for which the days before the first one are looked at, too.
BY_DAY = """
WITH daily AS (
    SELECT series.day::date AS day, coalesce(sum(units), 0) AS units, coalesce(sum(revenue), 0.00) AS revenue
    FROM generate_series(%(since)s::date - interval '6 days', %(until)s::date, interval '1 day') AS series (day)
    LEFT JOIN reporting_dailysales sales ON sales.day = series.day::date
        AND (%(branch)s::bigint[] IS NULL OR sales.category_id = ANY (%(branch)s::bigint[]))
    GROUP BY series.day
)
SELECT * FROM (
    SELECT day, units, revenue,
        round(avg(revenue) OVER week, 2) AS week_average,
        sum(revenue) FILTER (WHERE day >= %(since)s) OVER (ORDER BY day) AS so_far
    FROM daily
    WINDOW week AS (ORDER BY day ROWS BETWEEN 6 PRECEDING AND CURRENT ROW)
) AS told
WHERE day >= %(since)s
ORDER BY day
"""

# The place and the percentage are those among the categories that the report is about.
BY_CATEGORY = """
SELECT sales.day, category.slug AS category, sales.orders, sales.units, sales.revenue,
    rank() OVER of_the_day_by_revenue AS place,
    round(100 * sales.revenue / nullif(sum(sales.revenue) OVER of_the_day, 0), 1) AS percent
FROM reporting_dailysales sales
JOIN catalog_category category ON category.id = sales.category_id
WHERE sales.day BETWEEN %(since)s AND %(until)s
    AND (%(branch)s::bigint[] IS NULL OR sales.category_id = ANY (%(branch)s::bigint[]))
WINDOW of_the_day AS (PARTITION BY sales.day),
    of_the_day_by_revenue AS (PARTITION BY sales.day ORDER BY sales.revenue DESC)
ORDER BY sales.day, place, category
"""

REPORTS = {"day": BY_DAY, "category": BY_CATEGORY}
ROWS_AT_ONCE = 2_000
_LOCK = zlib.crc32(b"reporting.close_day")


def close_day(day):
    """Count the sales of `day`, however often; return in how many categories something was sold, and for how much."""
    return close_days(day, day)


@transaction.atomic
def close_days(first, last):
    begin, end = (datetime.combine(day, time.min, UTC) for day in (first, last + timedelta(days=1)))
    with connection.cursor() as cursor:
        # The clock and cron may both ask: the second one waits and then counts the same.
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        cursor.execute(CLOSE_DAYS, {"first": first, "last": last, "begin": begin, "end": end})
        return cursor.fetchone()


def report(asked):
    """Return the report as a list of dicts."""
    with connection.cursor() as cursor:
        cursor.execute(REPORTS[asked.by], asked.parameters())
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]


def stream(asked):
    """Yield the names of the columns, then row after row as the database hands them over."""
    with transaction.atomic(), connection.chunked_cursor() as cursor:
        cursor.itersize = ROWS_AT_ONCE
        cursor.execute(REPORTS[asked.by], asked.parameters())
        yield [column.name for column in cursor.description]
        yield from cursor
