# mypy: disable-error-code="misc"
from __future__ import annotations

from django.db import models


class Book(models.Model):
    id = models.BigIntegerField(primary_key=True)
    title = models.TextField()

    class Meta:
        app_label = "fenced"
        managed = False
        db_table = "book"


class Other(models.Model):
    """A table around which there is no fence."""

    id = models.BigIntegerField(primary_key=True)
    note = models.TextField()

    class Meta:
        app_label = "fenced"
        managed = False
        db_table = "other"
