"""The same monolith on PostgreSQL, with tables that somebody else made and put a fence around."""

from __future__ import annotations

import json
import os

SECRET_KEY = "only for tests"
ALLOWED_HOSTS = ["testserver"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = True
ROOT_URLCONF = "guestbook.fenced.urls"
# As the toolkit's tests say it: where it is, and whether each request is a transaction.
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", **json.loads(os.environ["GUESTBOOK_DATABASE"])}}
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "strangler_django", "guestbook.fenced"]
STRANGLER_OWNED = {"shop-books": {"models": ["fenced.Book", "fenced.Page"], "url": "https://books.test/?a=1&b=2"}}
if "GUESTBOOK_BACKGROUND" in os.environ:
    STRANGLER_BACKGROUND = {"shop-books": {"commands": ["restock"], "record": "fenced.Job"}}
MIDDLEWARE = [
    "strangler_django.forget.middleware",
    "strangler_django.causal.middleware",
    "strangler_django.fence.middleware",
    "strangler_django.names.middleware",
    "django.middleware.common.CommonMiddleware",
]
