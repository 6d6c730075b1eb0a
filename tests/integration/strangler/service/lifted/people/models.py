from __future__ import annotations

from django.db import models

from strangler.service.django import Visitor


class Person(Visitor, models.Model):  # type: ignore[misc]
    username = models.CharField(max_length=150)
    is_staff = models.BooleanField(default=False)
