"""As much of a product as the reviews look at. The rows are the monolith's; the sync brings them."""

from django.db import models
from django.urls import reverse


class ActiveProducts(models.QuerySet):
    def active(self):
        return self.filter(is_active=True)


class Product(models.Model):
    # Unique in the monolith, and not here: while rows are brought, two may have the same slug for a moment.
    slug = models.SlugField(max_length=160)
    name = models.CharField(max_length=160)
    is_active = models.BooleanField(default=True)

    objects = ActiveProducts.as_manager()

    def get_absolute_url(self):
        return reverse("catalog:product", args=[self.slug])
