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


class Page(models.Model):
    """A row of the fenced table, as something of another's."""

    id = models.BigAutoField(primary_key=True)
    other = models.ForeignKey(Other, models.DO_NOTHING, db_column="author_id")
    title = models.TextField()
    body = models.TextField(blank=True, null=True)

    class Meta:
        app_label = "fenced"
        managed = False
        db_table = "book"


class Job(models.Model):
    """A task that has taken effect."""

    id = models.CharField(primary_key=True, max_length=255)
    name = models.CharField(max_length=255)
    done_at = models.DateTimeField()
    result = models.TextField(null=True)

    class Meta:
        app_label = "fenced"
        managed = False
        db_table = "job"
