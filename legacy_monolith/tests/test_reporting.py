import csv
import io
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from orders.models import Order, OrderEvent, OrderLine
from reporting import sales
from reporting.asked import Asked
from reporting.models import DailySales, SavedReport
from reporting.tasks import close_day
from tests import factories

pytestmark = pytest.mark.django_db
SALES, BESTSELLERS, SAVED = "/api/reports/sales/", "/api/reports/bestsellers/", "/api/reports/saved/"
MONDAY = date(2026, 3, 2)


@pytest.fixture
def staff(api):
    user = factories.user(is_staff=True)
    api.force_login(user)
    return user


@pytest.fixture
def kitchen():
    return factories.category(name="Kitchen", slug="kitchen")


def sold(*lines, at=MONDAY, status="paid"):
    """Note a paid order of (product, quantity)."""
    at = at if isinstance(at, datetime) else datetime.combine(at, datetime.min.time(), UTC)
    total = sum(product.price * quantity for product, quantity in lines)
    order = Order.objects.create(
        user=factories.user(), status=status, shipping_address={}, billing_address={}, subtotal=total, total=total
    )
    for product, quantity in lines:
        OrderLine.objects.create(
            order=order, product=product, name=product.name, price=product.price, quantity=quantity
        )
    OrderEvent.objects.create(order=order, kind="paid", at=at)
    return order


def thing(category, price="10.00"):
    return factories.product(category=category, price=Decimal(price))


def close(day=MONDAY):
    out = io.StringIO()
    call_command("close_day", day=str(day), stdout=out)
    return out.getvalue()


def closed(day=MONDAY):
    found = DailySales.objects.filter(day=day).order_by("category")
    return list(found.values_list("category__slug", "orders", "units", "revenue"))


def test_a_day_is_counted_by_category(kitchen):
    garden = factories.category(slug="garden")
    cup, pan, rake = thing(kitchen), thing(kitchen, "2.50"), thing(garden, "7.00")
    sold((cup, 2), (pan, 1), (rake, 1))
    sold((cup, 1), at=datetime(2026, 3, 2, 23, 59, 59, 999999, UTC), status="shipped")
    sold((cup, 9), at=datetime(2026, 3, 1, 23, 59, 59, 999999, UTC))
    sold((cup, 9), at=MONDAY + timedelta(days=1))
    sold((cup, 9), status="cancelled")
    sold((cup, 9), status="placed")
    assert close() == "2026-03-02: 39.50 in 2 categories.\n"
    assert closed() == [("kitchen", 2, 4, Decimal("32.50")), ("garden", 1, 1, Decimal("7.00"))]


def test_closing_again_changes_nothing(kitchen):
    sold((thing(kitchen), 1))
    close()
    before = list(DailySales.objects.values())
    close()
    assert list(DailySales.objects.values()) == before


def test_closing_again_takes_out_what_was_cancelled_since(kitchen):
    garden = factories.category(slug="garden")
    cancelled, _ = sold((thing(kitchen), 1)), sold((thing(garden), 1))
    close()
    Order.objects.filter(id=cancelled.id).update(status="cancelled")
    close()
    assert closed() == [("garden", 1, 1, Decimal("10.00"))]


def test_a_day_without_sales_is_closed_too():
    assert close() == "2026-03-02: 0.00 in 0 categories.\n"


def test_yesterday_is_closed_by_the_clock(kitchen):
    yesterday = timezone.now() - timedelta(days=1)
    sold((thing(kitchen), 3), at=yesterday)
    close_day()
    assert closed(yesterday.date()) == [("kitchen", 1, 3, Decimal("30.00"))]


@pytest.mark.parametrize(
    ("day", "problem"),
    [("2026-02-30", "--day is '2026-02-30'; a date such as"), ("9999-01-01", "9999-01-01 is not over; the last day")],
)
def test_what_cannot_be_closed_is_refused(day, problem):
    with pytest.raises(CommandError, match=problem):
        close(day)


def count(day, category, revenue, units=1, orders=1):
    return DailySales.objects.create(
        day=day, category=category, orders=orders, units=units, revenue=revenue, closed_at=timezone.now()
    )


def test_the_report_by_day_has_every_day(api, staff, kitchen):
    count(MONDAY - timedelta(days=1), kitchen, "70.00")
    count(MONDAY, kitchen, "10.50", units=2)
    count(MONDAY, factories.category(), "7.00")
    count(MONDAY + timedelta(days=2), kitchen, "4.00")
    answer = api.get(f"{SALES}?since=2026-03-02&until=2026-03-04")
    assert answer.headers["Vary"] == "Accept, Api-Version, Cookie"
    assert answer.json() == {
        "by": "day",
        "since": "2026-03-02",
        "until": "2026-03-04",
        "results": [
            {"day": "2026-03-02", "units": 3, "revenue": "17.50", "week_average": "12.50", "so_far": "17.50"},
            {"day": "2026-03-03", "units": 0, "revenue": "0.00", "week_average": "12.50", "so_far": "17.50"},
            {"day": "2026-03-04", "units": 1, "revenue": "4.00", "week_average": "13.07", "so_far": "21.50"},
        ],
    }


def test_the_report_by_category_has_places_and_shares(api, staff, kitchen):
    garden, desk = factories.category(slug="garden"), factories.category(slug="desk")
    for category, revenue in [(kitchen, "25.00"), (garden, "50.00"), (desk, "25.00")]:
        count(MONDAY, category, revenue)
    rows = api.get(f"{SALES}?by=category&since=2026-03-02&until=2026-03-02").json()["results"]
    assert [(row["category"], row["place"], row["percent"]) for row in rows] == [
        ("garden", 1, "50.0"),
        ("desk", 2, "25.0"),
        ("kitchen", 2, "25.0"),
    ]
    assert rows[0] == {
        "day": "2026-03-02",
        "category": "garden",
        "orders": 1,
        "units": 1,
        "revenue": "50.00",
        "place": 1,
        "percent": "50.0",
    }


def test_given_away_is_no_share(kitchen):
    count(MONDAY, kitchen, "0.00")
    row = sales.report(Asked.read({"by": "category"}))[0]
    assert (row["percent"], row["place"]) == (None, 1)


def test_a_category_has_what_stands_below_it(api, staff, kitchen):
    count(MONDAY, factories.category(parent=kitchen), "5.00")
    count(MONDAY, factories.category(), "7.00")
    day = "since=2026-03-02&until=2026-03-02"
    assert api.get(f"{SALES}?{day}&category=kitchen").json()["results"][0]["revenue"] == "5.00"


def test_a_report_is_of_the_last_30_days_that_are_closed(api, staff, kitchen):
    count(MONDAY, kitchen, "5.00")
    answer = api.get(SALES).json()
    assert (answer["since"], answer["until"], len(answer["results"])) == ("2026-02-01", "2026-03-02", 30)


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("since=yesterday", {"since": ["Date has wrong format. Use one of these formats instead: YYYY-MM-DD."]}),
        ("since=2026-03-03&until=2026-03-02", {"since": ["The first day comes after the last one."]}),
        ("category=nowhere", {"category": ["Object with slug=nowhere does not exist."]}),
        ("by=hour", {"by": ['"hour" is not a valid choice.']}),
        ("saved=x", ["A valid integer is required."]),
        ("since=2020-01-01", {"since": ["At most 366 days are answered as JSON; ask for CSV."]}),
    ],
)
def test_a_wrong_question_is_refused(api, staff, query, problem):
    answer = api.get(f"{SALES}?{query}")
    assert (answer.status_code, answer.json()) == (400, problem)


@pytest.mark.parametrize("url", [SALES, f"{SALES}?format=csv", BESTSELLERS, SAVED])
def test_reports_are_for_staff(api, url):
    refused = api.get(url)
    assert (refused.status_code, refused.headers["Content-Type"]) == (401, "application/json")
    api.force_login(factories.user())
    assert api.get(url).status_code == 403


@pytest.mark.parametrize(("query", "accept"), [("&format=csv", "*/*"), ("", "text/csv"), ("", "text/csv, */*")])
def test_a_table_is_streamed(api, staff, kitchen, query, accept):
    kitchen.slug = 'kitchen,\n"best"'
    kitchen.save()
    count(MONDAY, kitchen, "5.00")
    url = f"{SALES}?by=category&since=2026-03-01&until=2026-03-02{query}"
    answer = api.get(url, headers={"accept": accept})
    assert answer.streaming
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="sales-2026-03-01-2026-03-02.csv"'
    assert list(csv.reader(io.StringIO(answer.getvalue().decode()))) == [
        ["day", "category", "orders", "units", "revenue", "place", "percent"],
        ["2026-03-02", 'kitchen,\n"best"', "1", "1", "5.00", "1", "100.0"],
    ]


@pytest.mark.parametrize(("query", "accept"), [("", "text/html"), ("", "*/*"), ("?format=json", "text/csv")])
def test_everybody_else_has_json(api, staff, query, accept):
    answer = api.get(f"{SALES}{query}", headers={"accept": accept})
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")


def test_a_table_may_be_of_many_years(api, staff):
    lines = api.get(f"{SALES}?format=csv&since=2000-01-01&until=2026-01-01").getvalue().splitlines()
    assert len(lines) == 1 + 9498


def test_rows_are_held_by_the_database_until_they_are_asked_for():
    rows = sales.stream(Asked.read({"since": "2026-01-01", "until": "2026-03-01"}))
    assert next(rows)[0] == "day"
    assert next(rows)[0] == date(2026, 1, 1)
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_cursors")
        assert "generate_series" in cursor.fetchone()[0]
        rows.close()
        cursor.execute("SELECT count(*) FROM pg_cursors")
        assert cursor.fetchone() == (0,)


def test_a_refusal_is_no_table(api, staff):
    answer = api.get(f"{SALES}?format=csv&since=never")
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "application/json")


def test_a_saved_report_is_asked_for(api, staff, kitchen):
    saved = SavedReport.objects.create(
        name="March", owner=staff, query={"by": "category", "since": "2026-03-01", "until": "2026-03-31"}
    )
    count(MONDAY, kitchen, "5.00")
    assert len(api.get(f"{SALES}?saved={saved.id}").json()["results"]) == 1
    assert api.get(f"{SALES}?saved={saved.id}&by=day").json()["by"] == "day"
    assert api.get(f"{SALES}?saved={saved.id + 1}").status_code == 404
    of_another = SavedReport.objects.create(name="Own", owner=factories.user())
    assert api.get(f"{SALES}?saved={of_another.id}").status_code == 404


def test_reports_are_saved(api, staff):
    made = api.post(SAVED, {"name": "Kitchen", "query": {"by": "category"}})
    assert made.status_code == 201, made.json()
    assert made.json() == {
        "id": SavedReport.objects.get().id,
        "name": "Kitchen",
        "owner": staff.username,
        "query": {"by": "category"},
        "is_shared": False,
        "created_at": made.json()["created_at"],
    }
    assert api.post(SAVED, {"name": "Kitchen"}).json() == {"name": ["You have a report of that name."]}
    assert "query" in api.post(SAVED, {"name": "Odd", "query": {"by": "hour"}}).json()
    assert api.patch(f"{SAVED}{made.json()['id']}/", {"name": "Kitchen"}).status_code == 200
    assert api.delete(f"{SAVED}{made.json()['id']}/").status_code == 204


def test_shared_reports_are_seen_and_left_alone(api, staff):
    other = factories.user(is_staff=True)
    shared = SavedReport.objects.create(name="Theirs", owner=other, is_shared=True)
    SavedReport.objects.create(name="Private", owner=other)
    assert [each["name"] for each in api.get(SAVED).json()["results"]] == ["Theirs"]
    assert api.patch(f"{SAVED}{shared.id}/", {"name": "Mine"}).status_code == 403


def test_bestsellers_are_cached_until_an_order_is_paid(
    api, staff, kitchen, django_assert_num_queries, django_capture_on_commit_callbacks
):
    cup, pan = thing(kitchen), thing(kitchen)
    sold((cup, 2), (pan, 1), at=timezone.now())
    sold((pan, 9), at=timezone.now() - timedelta(days=31))
    expected = [
        {"id": cup.id, "slug": cup.slug, "name": cup.name, "units": 2, "revenue": "20.00"},
        {"id": pan.id, "slug": pan.slug, "name": pan.name, "units": 1, "revenue": "10.00"},
    ]
    assert api.get(BESTSELLERS).json() == {"results": expected}
    with django_assert_num_queries(2):  # session and user
        assert api.get(BESTSELLERS).json() == {"results": expected}
    order = sold((pan, 2), at=timezone.now())
    with django_capture_on_commit_callbacks(execute=True):
        sales_signal(order)
    assert [each["id"] for each in api.get(BESTSELLERS).json()["results"]] == [pan.id, cup.id]


def sales_signal(order):
    from orders.signals import order_paid

    order_paid.send(Order, order=order)


def test_a_cache_that_is_away_does_not_undo_a_payment(kitchen, monkeypatch, django_capture_on_commit_callbacks, caplog):
    def away(key):
        raise ConnectionError(key)

    monkeypatch.setattr(cache, "delete", away)
    with django_capture_on_commit_callbacks() as callbacks:
        sales_signal(sold((thing(kitchen), 1)))
    assert len(callbacks) > 0


def test_the_overview_shows_the_last_days(client, kitchen):
    client.force_login(factories.user(is_staff=True, is_superuser=True))
    count(MONDAY, kitchen, "1234.50")
    assert "overview/" in client.get("/admin/reporting/dailysales/").content.decode()
    page = client.get("/admin/reporting/dailysales/overview/").content.decode()
    assert "1234.50" in page
    assert page.count("<meter") == 30


def test_days_are_counted_again_from_the_admin(client, kitchen):
    client.force_login(factories.user(is_staff=True, is_superuser=True))
    row = count(MONDAY, kitchen, "99.00")
    sold((thing(kitchen), 1))
    chosen = {"action": "close_again", "_selected_action": [row.id]}
    page = client.post("/admin/reporting/dailysales/", chosen, follow=True).content.decode()
    assert "1 days are counted again." in page
    assert closed() == [("kitchen", 1, 1, Decimal("10.00"))]
