# mypy: disable-error-code="misc"
from __future__ import annotations

import uuid

from django.db import models


class Entry(models.Model):
    """What somebody wrote; nothing keeps anybody from writing it twice."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    note = models.TextField()

    class Meta:
        app_label = "background"
        managed = False
        db_table = "entry"


class Job(models.Model):
    """A task that has taken effect."""

    id = models.CharField(primary_key=True, max_length=255)
    name = models.CharField(max_length=255)
    done_at = models.DateTimeField()
    result = models.TextField(null=True)

    class Meta:
        app_label = "background"
        managed = False
        db_table = "job"
