"""A monolith as small as they come, for any release of Django since 3.2."""

from __future__ import annotations

import importlib.util

SECRET_KEY = "only for tests"
STRANGLER_IDENTITY_SECRET = "only for tests, and at least thirty-two bytes"
ALLOWED_HOSTS = ["testserver"]
ROOT_URLCONF = "guestbook.urls"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = True
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "strangler_django",
]
if importlib.util.find_spec("rest_framework"):
    INSTALLED_APPS += ["rest_framework", "rest_framework.authtoken"]
MIDDLEWARE = [
    "strangler_django.forget.middleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
