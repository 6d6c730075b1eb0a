"""What the shop does when reviews, products and stock change, in all four combinations of who owns what.

Real streams, fences, services and the shop's own code; ownership moves as a cutover's steps move it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg
import pytest

from strangler.capability import Stack
from strangler.local import Postgres
from strangler.project import load
from strangler.service.calling import Statement
from strangler.sync import fence, fencing, install, running
from strangler.sync.direction import Direction, directions
from tests.fixtures.ports import free_port
from tests.fixtures.postgres import making
from tests.fixtures.shop import MONOLITH, ROOT, SERVICES
from tests.fixtures.split import answers_at, plain, spawned
from tests.fixtures.streams import give_rights
from tests.fixtures.waiting import until

SECRET: Final = "only for tests and at least thirty-two bytes"
ROWS: Final = """
from accounts.models import User
from cart.models import Cart, CartItem
from catalog.models import Category, Product
from inventory.models import Warehouse
User.objects.create_superuser("admin", "admin@shop.test", "secret")
for number in range(1, 10):
    User.objects.create_user(f"user{number}", f"user{number}@shop.test", "secret")
Warehouse.objects.create(code="main", name="Main")
category = Category.objects.create(name="Cups", slug="cups")
for number in (1, 2, 3, 4):
    product = Product.objects.create(
        id=number, sku=f"cup-{number}", slug=f"cup-{number}", name=f"Cup {number}", category=category, price="9.90"
    )
    CartItem.objects.create(cart=Cart.objects.create(), product=product, quantity=1)
"""
# In the shop's own code: a review where it owns them, stock, and what is changed of a product where it owns those.
REVIEWED: Final = """
from reviews.models import Review
Review.objects.create(id={id}, product_id={product}, author_id={author}, rating={rating}, title="So", body="")
"""
COUNTED: Final = """
from catalog.models import Product
from inventory import stock
from inventory.models import Warehouse
stock.count(Product.objects.get(id={product}), Warehouse.objects.get(code="main"), {stock})
"""
CHANGED: Final = """
from catalog.models import Product
product = Product.objects.get(id={product})
product.price, product.is_active = "12.50", False
product.save(update_fields=["price", "is_active"])
"""
ACTED: Final = """
import json
from django.test import Client
from django.test.utils import setup_test_environment
from accounts.models import User
setup_test_environment()
client = Client()
client.force_login(User.objects.get(username="admin"))
chosen = dict(action="hide", _selected_action=[{review}], post="yes")
done = client.post("/admin/reviews/review/", chosen, follow=True)
shown = client.get("/admin/reviews/review/{review}/change/").content.decode()
listed = client.get("/admin/reviews/review/").content.decode()
product = client.get("/admin/catalog/product/1/change/").content.decode()
print(json.dumps(dict(
    changed="1 reviews changed" in done.content.decode(),
    told=[str(each) for each in done.context["messages"]],
    banner="owns these now" in shown,
    saves='name="_save"' in shown,
    adds=client.get("/admin/reviews/review/add/").status_code,
    actions=[each for each in ("hide", "restore") if f'value="{{each}}"' in listed],
    inline='name="reviews-0-title"' in product,
)))
"""


@dataclass
class Moving:
    """The shop, two services beside it, and the streams between them."""

    urls: dict[str, str]
    both: dict[str, tuple[Direction, Direction]]
    environment: dict[str, str]
    epochs: dict[str, int] = field(default_factory=lambda: {"catalog": 1, "reviews": 1})

    def shop(self, code: str) -> str:
        """Run some of the shop's code, in a process of the monolith's."""
        done = subprocess.run(
            [sys.executable, "manage.py", "shell", "--verbosity=0", "-c", code],
            cwd=MONOLITH,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ask(self, database: str, query: str) -> list[Any]:
        with psycopg.connect(self.urls[database]) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    def fenced(self, service: str) -> bool:
        return bool(self.ask(service, f"select raised from strangler_sync.claim where capability = '{service}'")[0][0])

    def move(self, capability: str, to: Stack) -> None:
        """Move the owner by a cutover's steps: claim, fence, drain, unfence."""
        forward, back = self.both[capability]
        away, arriving = (back, forward) if to is Stack.SERVICE else (forward, back)
        self.epochs[capability] += 1
        epoch = self.epochs[capability]
        around_source, around_target = fencing.fence_of(away), fencing.fence_of(arriving)
        with arriving.open() as (source, target):
            for each in (source, target):
                fence.claim(each, capability, epoch)
            fence.raise_fence(source, around_source, epoch=epoch, owner=to, budget_s=10)
            until(lambda: fence.marker_seen(target, capability) == epoch, "the marker is applied", 30)
            fence.lower_fence(target, around_target, epoch=epoch, budget_s=10)


@pytest.fixture(scope="module")
def moving(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moving]:
    folder = tmp_path_factory.mktemp("reactions")
    with ExitStack() as stack:
        make = stack.enter_context(making(postgres))
        urls = {name: make() for name in ("monolith", "catalog", "reviews")}
        for url in urls.values():
            give_rights(postgres, url)
        ports = {name: free_port() for name in ("catalog", "reviews")}
        environment = {
            **plain(),
            "DATABASE_URL": urls["monolith"],
            "SECRET_KEY": "for tests only, and long enough for Django",
            "STRANGLER_IDENTITY_SECRET": SECRET,
            "STRANGLER_SERVICE_SECRET": SECRET,
            "STRANGLER_CALLERS": f"monolith={SECRET}",
            "MEDIA_ROOT": str(folder / "media"),
            **{f"{name.upper()}_SERVICE_URL": f"http://127.0.0.1:{port}" for name, port in ports.items()},
            **{f"{name.upper()}_DATABASE_URL": urls[name] for name in ports},
        }
        for command, where in (
            (["manage.py", "migrate", "--verbosity=0"], MONOLITH),
            (["-m", "catalog_service", "migrate"], SERVICES / "catalog"),
            (["-m", "reviews_service", "migrate"], SERVICES / "reviews"),
        ):
            done = subprocess.run(
                [sys.executable, *command], cwd=where, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
        project = load(ROOT / "strangler.toml", {f"{name.upper()}_DATABASE_URL": url for name, url in urls.items()})
        both = {name: directions(project.capabilities[name], project) for name in ports}
        stack.enter_context(_streams(both))
        found = Moving(urls=urls, both=both, environment=environment)
        found.shop(ROWS)
        for name, port in ports.items():
            serving = [sys.executable, "-m", f"{name}_service", "serve", "--listen", f"127.0.0.1:{port}"]
            log = folder / f"{name}.log"
            stack.enter_context(spawned(serving, SERVICES / name, environment, log))
            answers_at(f"http://127.0.0.1:{port}/health/live", log)
        yield found


@contextmanager
def _streams(both: dict[str, tuple[Direction, Direction]]) -> Iterator[None]:
    over = threading.Event()
    told: list[str] = []
    every = [way for pair in both.values() for way in pair]
    for forward, back in both.values():
        install.install(back, copying=False)
        install.install(forward, copying=False)
        with forward.open() as (source, target):
            for each in (source, target):
                fence.claim(each, forward.capability, 1)
            around = fencing.fence_of(forward)
            fence.raise_fence(target, around, epoch=1, owner=Stack.MONOLITH, budget_s=10)
    threads = [
        threading.Thread(target=running.keep, args=(each, lambda: not over.is_set(), told.append)) for each in every
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(20)
        for way in every:
            install.remove(way)
        assert told == []


PRODUCT: Final = "select rating, review_count, stock from catalog_product where id = {}"
THERE: Final = "select rating_hundredths / 100.0, review_count, stock from product where id = {}"


def test_ratings_stock_prices_carts_and_letters_follow_whoever_owns_what(moving: Moving, tmp_path: Path) -> None:
    log = tmp_path / "react.log"
    command = [sys.executable, "manage.py", "strangler_react"]
    combinations = [
        (1, Stack.MONOLITH, Stack.MONOLITH),
        (2, Stack.MONOLITH, Stack.SERVICE),
        (3, Stack.SERVICE, Stack.SERVICE),
        (4, Stack.SERVICE, Stack.MONOLITH),
    ]
    owners = {"catalog": Stack.MONOLITH, "reviews": Stack.MONOLITH}
    with spawned(command, MONOLITH, moving.environment, log):
        for product, catalog, reviews in combinations:
            for capability, to in (("catalog", catalog), ("reviews", reviews)):
                if owners[capability] is not to:
                    moving.move(capability, to)
                    owners[capability] = to
            _write(moving, product, catalog, reviews)
            _settle(moving, product, log)
            if (catalog, reviews) == (Stack.SERVICE, Stack.SERVICE):
                _look_at_the_administration(moving, product, log)
        left = "select count(*) from strangler_sync.reaction"
        until(lambda: moving.ask("monolith", left) == [(0,)], "nothing waits", 20)
    assert moving.ask("monolith", "select * from strangler_sync.reaction_trouble") == []


def _write(moving: Moving, product: int, catalog: Stack, reviews: Stack) -> None:
    """Write two reviews and change a product where they are owned, and move stock, which is the shop's."""
    here: list[str] = []
    for place, rating in ((0, 5), (1, 2)):
        of = {"id": 10 * product + place, "product": product, "author": 2 + place, "rating": rating}
        if reviews is Stack.MONOLITH:
            here.append(REVIEWED.format(**of))
        else:
            moving.ask(
                "reviews",
                "insert into reviews_review (id, product_id, author_id, rating, title, body, is_published, created_at)"
                " values ({id}, {product}, {author}, {rating}, 'So', '', true, now())".format(**of),
            )
    here.append(COUNTED.format(product=product, stock=10 + product))
    if catalog is Stack.MONOLITH:
        here.append(CHANGED.format(product=product))
    else:
        moving.ask("catalog", f"update product set price_cents = 1250, is_published = false where id = {product}")
    moving.shop("".join(here))


def _settle(moving: Moving, product: int, log: Path) -> None:
    """Wait until all that follows has come about, in both databases, and see that it did so once."""
    wanted = [(3.5, 2, 10 + product)]

    def is_so() -> bool:
        here = [tuple(map(float, row)) for row in moving.ask("monolith", PRODUCT.format(product)) if None not in row]
        there = [tuple(map(float, row)) for row in moving.ask("catalog", THERE.format(product)) if None not in row]
        prices = moving.ask("monolith", f"select before, after from catalog_pricechange where product_id = {product}")
        kept = moving.ask("monolith", f"select from cart_cartitem where product_id = {product}")
        told = moving.ask("monolith", _TOLD.format(10 * product))
        return (here, there, len(prices), kept, told) == (wanted, wanted, 1, [], [(2,)])

    try:
        until(is_so, f"all follows for product {product}", 30)
    except AssertionError as exc:
        left = moving.ask("monolith", "select reaction, op, key from strangler_sync.reaction")
        told = moving.ask("monolith", _TOLD.format(10 * product))
        rows = (moving.ask("monolith", PRODUCT.format(product)), moving.ask("catalog", THERE.format(product)), told)
        raise AssertionError(f"{exc}: {rows}, left {left}\n{log.read_text()}") from None


_TOLD: Final = (
    "select count(*) from notifications_notification where kind = 'review_written'"
    " and about_id in ('{0}', ('{0}'::int + 1)::text)"
)


def _look_at_the_administration(moving: Moving, product: int, log: Path) -> None:
    """Have one review hidden by an action, which the service does, and see what else is offered."""
    found = json.loads(moving.shop(ACTED.format(review=10 * product + 1)).splitlines()[-1])
    assert found.pop("changed"), (found, log.read_text())
    assert len(found.pop("told")) == 2  # what was done, and who owns
    assert found == {"banner": True, "saves": False, "adds": 403, "actions": ["hide"], "inline": False}
    until(
        lambda: moving.ask("monolith", f"select review_count from catalog_product where id = {product}") == [(1,)],
        "it counts no more",
        20,
    )


WRITES: Final = {
    "catalog": ("/internal/products/1/counted/", {"stock": 11}, {"stock": -1}),
    "reviews": ("/internal/reviews/published/", {"ids": [11], "is_published": True}, {"ids": "11"}),
}


@pytest.mark.parametrize("service", WRITES)
def test_nobody_but_the_shop_writes_there(moving: Moving, service: str) -> None:
    path, right, wrong = WRITES[service]
    base = moving.environment[f"{service.upper()}_SERVICE_URL"]

    def told(method: str, body: object, name: str = "monolith", secret: str = SECRET, audience: str = service) -> int:
        statement = Statement(name=name, secret=secret, audience=audience).header(method, "", time.time())
        answer = httpx.request(method, base + path, json=body, headers={"Strangler-Service": statement}, timeout=20)
        return answer.status_code

    assert httpx.put(base + path, json=right, timeout=20).status_code == 404
    assert told("PUT", right, secret="x" * 32) == 401
    assert told("PUT", right, name="wishlist") == 401
    assert told("PUT", right, audience="wishlist") == 401
    assert (told("GET", right), told("PUT", wrong), told("PUT", [])) == (405, 400, 400)
    # By then a service owns the one, and the shop the other: what is fenced says so, and that nothing was written.
    assert told("PUT", right) == (503 if moving.fenced(service) else 200)
