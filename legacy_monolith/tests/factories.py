"""Rows to test with; what a test does not name is made up, and different each time."""

from itertools import count

from accounts.models import User
from catalog.models import Category, Product
from inventory.models import StockLevel, Warehouse
from notifications.models import Letter, Notification
from reviews.models import Photo, Review, Vote

_numbers = count(1)


def user(**fields):
    number = next(_numbers)
    fields = {"username": f"user{number}", "email": f"user{number}@example.com", "password": "secret-enough"} | fields
    return User.objects.create_user(**fields)


def category(**fields):
    number = next(_numbers)
    return Category.objects.create(**{"name": f"Category {number}", "slug": f"category-{number}", **fields})


def product(**fields):
    number = next(_numbers)
    fields = {
        "sku": f"SKU-{number}",
        "slug": f"product-{number}",
        "name": f"Product {number}",
        "price": "9.90",
    } | fields
    if "category" not in fields:
        fields["category"] = category()
    return Product.objects.create(**fields)


def review(**fields):
    fields = {"rating": 4, "title": "Good", "body": "It works."} | fields
    if "author" not in fields:
        fields["author"] = user()
    if "product" not in fields:
        fields["product"] = product()
    return Review.objects.create(**fields)


def photo(**fields):
    fields = {"image": f"reviews/{next(_numbers)}.jpg", "width": 60, "height": 40} | fields
    return Photo.objects.create(**fields)


def vote(**fields):
    fields = {"helpful": True} | fields
    if "user" not in fields:
        fields["user"] = user()
    return Vote.objects.create(**fields)


def notification(**fields):
    fields = {"kind": "review_written"} | fields
    if "recipient" not in fields:
        fields["recipient"] = user()
    if "about" not in fields:
        fields["about"] = fields["recipient"]
    return Notification.objects.create(**fields)


def letter(**fields):
    return Letter.objects.create(**{"to": "ann@example.com", "subject": "Hello", "body": "Good day."} | fields)


def warehouse(**fields):
    number = next(_numbers)
    return Warehouse.objects.create(**{"code": f"w{number}", "name": f"Warehouse {number}", **fields})


def stocked(on_hand, **fields):
    """Return a product of which so many lie in a warehouse."""
    made = product(**fields)
    StockLevel.objects.create(product=made, warehouse=warehouse(), on_hand=on_hand)
    made.refresh_from_db()
    return made
