# Tasks of the apps find their Celery app here, whichever way Django was started.
from shop.celery import app as celery_app

__all__ = ["celery_app"]
