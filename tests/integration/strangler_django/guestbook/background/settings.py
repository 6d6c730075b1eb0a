"""One of the two sides of a capability that has work in the background; the toolkit's tests say which."""

from __future__ import annotations

import json
import os

SIDE = os.environ["GUESTBOOK_SIDE"]
OTHER = {"monolith": "service", "service": "monolith"}[SIDE]
SECRET_KEY = "only for tests"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", **json.loads(os.environ["GUESTBOOK_DATABASE"])}}
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "strangler_django",
    "guestbook.background",
]
MIDDLEWARE: list[str] = []
STRANGLER_SIDE = SIDE
STRANGLER_BACKGROUND = {
    "books": {
        "tasks": ["guestbook.*"],
        "commands": ["sign"],
        "record": "background.Job",
        "queue": OTHER,
    }
}
