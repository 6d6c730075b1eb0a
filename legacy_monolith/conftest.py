import os

import pytest

from tests import cluster


def pytest_configure(config):
    """Start a database unless one is given, then let Django read its settings."""
    if "DATABASE_URL" not in os.environ and not hasattr(config, "workerinput"):
        running = cluster.postgres()
        os.environ["DATABASE_URL"] = running.__enter__()
        config.add_cleanup(lambda: running.__exit__(None, None, None))
    os.environ.setdefault("SECRET_KEY", "only-for-tests")
    os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
    import django

    django.setup()


@pytest.fixture(autouse=True)
def quick_and_separate(settings, tmp_path):
    """Hash passwords cheaply, forget counted visitors, and keep uploads out of the project."""
    from django.core.cache import cache

    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.MEDIA_ROOT = tmp_path
    cache.clear()


@pytest.fixture
def api(db):
    from rest_framework.test import APIClient

    return APIClient()
