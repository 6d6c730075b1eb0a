"""What the reviews do beside the requests: `celery --app reviews_service.work worker`, and `beat`."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "reviews_service.settings")

app = Celery("reviews")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
