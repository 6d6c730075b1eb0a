"""As much of an account as the reviews show. The rows are the monolith's; the sync brings them."""

from django.db import models

from strangler.service.django import Visitor


class User(Visitor, models.Model):
    # Unique in the monolith, and not here: while rows are brought, two may have the same name for a moment.
    username = models.CharField(max_length=150, db_index=True)
    is_staff = models.BooleanField(default=False)
