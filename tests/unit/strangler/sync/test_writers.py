"""Whose a writer is, by what the project's files say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from strangler.capability import Stack
from strangler.project import Project, load
from strangler.sync.observations import Allowed, Observation
from strangler.sync.observed import OTHERS, Both, Count, Kind, Tally, Times, Writer
from strangler.sync.writers import Place, Report, report
from tests.fixtures.project_files import CAPABILITY, ENV, write

NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
OBSERVED = Observation(
    id=1,
    stack=Stack.MONOLITH,
    who="ann",
    reason="trying",
    began_at=NOW - timedelta(days=1),
    until=NOW + timedelta(days=6),
    ended_at=None,
    why=None,
    on_at=NOW,
    gaps=0,
    missed_s=0.0,
    now=NOW,
)
REVIEWS = """
service = "catalog"
tasks = ["reviews.*"]
applications = ["review-feed"]
[[route]]
path = "/api/catalog/products/{id}/reviews"
[[route]]
path = "/api/reviews"
methods = ["POST"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    catalog = 'tasks = ["catalog.tasks.*"]\ncommands = ["import_prices"]\n' + CAPABILITY
    files = {"migrations/catalog/capability.toml": catalog, "migrations/reviews/capability.toml": REVIEWS}
    return load(write(tmp_path, files), ENV)


def writer(kind: Kind, name: str) -> Writer:
    return Writer(kind=kind, name=name, role="shop")


def count(days_ago: float = 0.0) -> Count:
    at = NOW - timedelta(days=days_ago)
    return Count(number=3, first_at=at, last_at=at, tables=frozenset(), operations=frozenset(), sample="")


def reported(project: Project, tally: Tally, *allowed: Allowed) -> Report:
    return report(
        project.capabilities["catalog"],
        project,
        OBSERVED,
        is_on=True,
        behind_s=0.5,
        tally=tally,
        allowed=allowed,
        unseen=(),
    )


@pytest.mark.parametrize(
    ("kind", "name", "place", "todo"),
    [
        (Kind.ROUTE, "POST /api/catalog/", Place.INSIDE, ""),
        (Kind.ROUTE, "POST /api/catalog/products/<int:pk>/", Place.INSIDE, ""),
        (Kind.ROUTE, "GET /<lang>/products/", Place.INSIDE, ""),
        # More exact routes are another capability's.
        (
            Kind.ROUTE,
            "POST /api/catalog/products/<int:pk>/reviews/",
            Place.OUTSIDE,
            "it belongs to reviews: have it ask",
        ),
        (Kind.ROUTE, "POST /api/reviews/<pk>/", Place.OUTSIDE, "it belongs to reviews: have it ask catalog over HTTP"),
        (Kind.ROUTE, "GET /api/reviews/<pk>/", Place.OUTSIDE, "make it a [[route]] of catalog"),
        (Kind.ROUTE, "POST /cart/", Place.OUTSIDE, "make it a [[route]] of catalog"),
        (Kind.ROUTE, "POST -", Place.OUTSIDE, "make it a [[route]] of catalog"),
        (Kind.ROUTE, "POST /", Place.OUTSIDE, "make it a [[route]] of catalog"),
        (Kind.TASK, "catalog.tasks.restock", Place.INSIDE, ""),
        (Kind.TASK, "catalog.restock", Place.OUTSIDE, "put it into tasks of catalog's files"),
        (Kind.TASK, "import_prices", Place.OUTSIDE, "put it into tasks of catalog's files"),
        (Kind.TASK, "reviews.count", Place.OUTSIDE, "it belongs to reviews: have it ask catalog over HTTP"),
        (Kind.COMMAND, "import_prices", Place.INSIDE, ""),
        (Kind.COMMAND, "import_prices_2", Place.OUTSIDE, "put it into commands of catalog's files"),
        (Kind.JOB, "catalog.tasks.restock", Place.OUTSIDE, "have it write through catalog"),
        (Kind.APPLICATION, "psql", Place.OUTSIDE, "put it into applications of catalog's files"),
        (Kind.APPLICATION, "review-feed", Place.OUTSIDE, "it belongs to reviews: have it ask catalog over HTTP"),
        (Kind.APPLICATION, OTHERS, Place.OUTSIDE, "too many writers to tell apart"),
    ],
)
def test_whose_a_writer_is(kind: Kind, name: str, place: Place, todo: str, project: Project) -> None:
    [found] = reported(project, Tally(writers={writer(kind, name): count()})).writers
    assert found.place is place
    assert todo in found.todo
    assert bool(found.todo) is place.holds


def test_who_is_allowed_or_was_not_seen_since_holds_nothing(project: Project) -> None:
    allowed = Allowed(kind=Kind.COMMAND, name="reindex", who="ann", reason="by hand", at=NOW)
    cart, reindex, psql = (
        writer(kind, name)
        for kind, name in ((Kind.ROUTE, "POST /cart/"), (Kind.COMMAND, "reindex"), (Kind.APPLICATION, "psql"))
    )
    times = Times(number=2, first_at=NOW, last_at=NOW)
    tally = Tally(
        writers={psql: count(days_ago=2), reindex: count(), cart: count()},
        both={Both(own=each, other="orders", others=cart): times for each in (reindex, cart)},
    )
    found = reported(project, tally, allowed)
    assert [(each.writer.name, each.place) for each in found.writers] == [
        ("POST /cart/", Place.OUTSIDE),
        ("psql", Place.EARLIER),
        ("reindex", Place.ALLOWED),
    ]
    assert [(each.both.own.name, each.place) for each in found.both] == [
        ("reindex", Place.ALLOWED),
        ("POST /cart/", Place.OUTSIDE),
    ]
    assert found.holding == ["route:POST /cart/ (shop)", "route:POST /cart/ together with orders"]
    assert (found.statements, found.seconds) == (9, 86_400)


def test_a_transaction_across_two_capabilities_holds_whoever_runs_it(project: Project) -> None:
    own = writer(Kind.ROUTE, "POST /api/catalog/")
    tally = Tally(
        writers={own: count()},
        both={Both(own=own, other="reviews", others=own): Times(number=1, first_at=NOW, last_at=NOW)},
    )
    assert reported(project, tally).holding == ["route:POST /api/catalog/ together with reviews"]
