import os

import cluster


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
