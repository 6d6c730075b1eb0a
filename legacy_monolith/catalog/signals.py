"""A product's price leaves a trace."""

from django.db.models.signals import pre_save

from catalog.models import PriceChange, Product


def connect():
    pre_save.connect(_price_changes, sender=Product, dispatch_uid="prices")


def _price_changes(sender, instance, raw=False, update_fields=None, **kwargs):
    if raw or instance._state.adding or (update_fields is not None and "price" not in update_fields):
        return
    before = Product.objects.filter(pk=instance.pk).values_list("price", flat=True).first()
    after = Product._meta.get_field("price").to_python(instance.price)
    if before is not None and before != after:
        PriceChange.objects.create(product=instance, before=before, after=after)
