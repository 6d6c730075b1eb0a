"""Invent the shop's rows: the same scale always gives the same rows, in the same order, as plain tuples."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from uuid import UUID, uuid5

from django.utils.text import slugify

from shop.seeding import words

OPENED = datetime(2019, 4, 1, 9, tzinfo=UTC)
DAYS_OPEN = 2400
NAMESPACE = UUID("7b0a2c0e-3d8f-4d0c-9a53-5f6f1f8a2b61")
STAFF = {"admin"}
KNOWN = {"admin": ("Admin", "Istrator"), "ann": ("Ann", "Beispiel"), "bob": ("Bob", "Mustermann")}

USER_COLUMNS = [
    "id",
    "username",
    "email",
    "password",
    "first_name",
    "last_name",
    "newsletter",
    "is_superuser",
    "is_staff",
    "is_active",
    "date_joined",
]
ADDRESS_COLUMNS = ["id", "user_id", "kind", "name", "street", "postcode", "city", "country"]
CATEGORY_COLUMNS = ["id", "parent_id", "name", "slug", "position", "updated_at"]
PRODUCT_COLUMNS = [
    "id",
    "public_id",
    "sku",
    "slug",
    "name",
    "description",
    "category_id",
    "price",
    "currency",
    "attributes",
    "tags",
    "stock",
    "image",
    "is_active",
    "rating",
    "review_count",
    "created_at",
    "updated_at",
]
REVIEW_COLUMNS = [
    "id",
    "product_id",
    "author_id",
    "rating",
    "title",
    "body",
    "is_published",
    "created_at",
    "updated_at",
]


def users(count: int, password: str) -> Iterator[tuple]:
    """Yield the known users first, then customers; all carry the hash `password`."""
    random = Random("users")
    for number in range(1, count + 1):
        if number <= len(KNOWN):
            username = list(KNOWN)[number - 1]
            first, last = KNOWN[username]
        else:
            first, last = random.choice(words.FIRST_NAMES), random.choice(words.LAST_NAMES)
            username = f"{slugify(first) or 'kunde'}{number}"
        staff = username in STAFF
        joined = OPENED + timedelta(minutes=random.randrange(DAYS_OPEN * 1440))
        email = f"{username}@example.com"
        yield number, username, email, password, first, last, random.random() < 0.3, staff, staff, True, joined


def addresses(count: int) -> Iterator[tuple]:
    """Yield an address for most of `count` users."""
    random = Random("addresses")
    chosen = (user for user in range(1, count + 1) if user in {2, 3} or random.random() < 0.7)
    for number, user in enumerate(chosen, start=1):
        name = f"{random.choice(words.FIRST_NAMES)} {random.choice(words.LAST_NAMES)}"
        street = f"{random.choice(words.STREETS)} {random.randrange(1, 120)}"
        yield (
            number,
            user,
            "shipping",
            name,
            street,
            f"{random.randrange(10000, 99999)}",
            random.choice(words.CITIES),
            "DE",
        )


def categories() -> list[tuple]:
    """Return the category tree, parents first."""
    rows, ids = [], {}
    for path in _category_paths():
        number = len(rows) + 1
        ids[path] = number
        rows.append((number, ids.get(path[:-1]), path[-1], slugify("-".join(path)), number * 10, OPENED))
    return rows


def _category_paths() -> Iterator[tuple[str, ...]]:
    for top, below in words.TREE.items():
        yield (top,)
        for name in below:
            yield (top, *name.split(" > "))


def _stock_of_nouns() -> list[tuple[int, str, str]]:
    """Return (category id, top category, noun) for everything that the shop may sell."""
    ids = {path: number for number, path in enumerate(_category_paths(), start=1)}
    return [
        (ids[(top, *name.split(" > "))], top, noun)
        for top, below in words.TREE.items()
        for name, nouns in below.items()
        for noun in nouns
    ]


def products(count: int) -> Iterator[tuple]:
    random = Random("products")
    nouns = _stock_of_nouns()
    for number in range(1, count + 1):
        category, top, noun = random.choice(nouns)
        material = random.choice(words.MATERIALS[top])
        sku = f"{top[:3].upper()}-{number:06d}"
        name = " ".join([random.choice(words.MANNERS), material, noun])
        slug = f"{slugify(name)}-{number}"
        created = _moment(random)
        yield (
            number,
            uuid5(NAMESPACE, sku),
            sku,
            slug,
            name,
            _description(random, noun, material),
            category,
            _price(random),
            "EUR",
            json.dumps(_attributes(random, material), ensure_ascii=False),
            random.sample(words.TAGS, random.choice([0, 1, 2, 2, 3])),
            random.choice([0, 1, 2, 5, 12, random.randrange(1, 400)]),
            "",
            random.random() > 0.03,
            None,
            0,
            created,
            created + timedelta(seconds=random.randrange(86400 * 30)),
        )


def _moment(random: Random) -> datetime:
    """Return when a product came in; deliveries are entered together, so many share their moment."""
    day = OPENED + timedelta(days=random.randrange(DAYS_OPEN))
    if random.random() < 0.3:
        return day
    return day + timedelta(microseconds=random.randrange(8 * 3600 * 1_000_000))


def _price(random: Random) -> Decimal:
    if random.random() < 0.6:
        return Decimal(random.choice(words.PRICES))
    return Decimal(random.randrange(190, 39900)) / 100


def _attributes(random: Random, material: str) -> dict:
    attributes = {"material": material.lower(), "colour": random.choice(words.COLOURS)}
    if random.random() < 0.7:
        attributes["weight_kg"] = random.randrange(5, 900) / 100
    if random.random() < 0.5:
        attributes["origin"] = random.choice(words.ORIGINS)
    if random.random() < 0.4:
        attributes["dishwasher"] = random.random() < 0.5
    if random.random() < 0.2:
        attributes["warranty_years"] = random.choice([2, 5, 10, 30])
    return attributes


def _description(random: Random, noun: str, material: str) -> str:
    facts = {
        "noun": noun.lower(),
        "material": material,
        "people": random.randrange(2, 30),
        "origin": random.choice(words.ORIGINS),
        "year": random.randrange(1890, 2020),
        "years": random.choice([2, 5, 10, 25]),
        "size": f"{random.randrange(8, 90)} × {random.randrange(8, 60)}",
        "weight": random.randrange(40, 5000),
        "colour": random.choice(words.COLOURS),
    }
    sentences = [random.choice(words.OPENINGS), *random.sample(words.MIDDLES, 2), random.choice(words.ENDINGS)]
    return " ".join(sentences).format(**facts)


def reviews(count: int, product_count: int, user_count: int) -> Iterator[tuple]:
    """Yield `count` reviews, none twice by the same customer for the same product."""
    random = Random("reviews")
    seen = set()
    while len(seen) < count:
        # Few products are talked about much, many hardly at all.
        product = 1 + int(product_count * random.random() ** 1.7)
        author = random.randrange(len(KNOWN) + 1, user_count + 1)
        if (product, author) in seen:
            continue
        seen.add((product, author))
        rating = random.choices([1, 2, 3, 4, 5], [4, 6, 15, 35, 40])[0]
        body = " ".join(random.sample(words.REMARKS, random.choice([0, 1, 2, 3]))).format(days=random.randrange(2, 20))
        written = OPENED + timedelta(seconds=random.randrange(DAYS_OPEN * 86400))
        title = random.choice(words.VERDICTS[rating])
        yield len(seen), product, author, rating, title, body, random.random() > 0.02, written, written
