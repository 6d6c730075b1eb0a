"""A login brings the cart along; what is taken off the shelf leaves the carts."""

from django.contrib.auth.signals import user_logged_in
from django.db.models.signals import post_save

from cart import shopping
from cart.models import Cart, CartItem
from catalog.models import Product


def connect():
    user_logged_in.connect(_bring_along, dispatch_uid="cart")
    post_save.connect(_take_out, sender=Product, dispatch_uid="cart")


def _bring_along(sender, request, user, **kwargs):
    kept = request is not None and hasattr(request, "session") and request.session.pop(shopping.KEY, None)
    if kept and (cart := Cart.objects.filter(pk=kept, user=None).first()):
        shopping.merge(cart, user)


def _take_out(sender, instance, raw=False, **kwargs):
    if not raw and not instance.is_active:
        CartItem.objects.filter(product=instance).delete()
