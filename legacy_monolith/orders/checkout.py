"""From a cart to an order, and what may become of it."""

from decimal import ROUND_HALF_UP, Decimal

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from cart import shopping
from cart.models import Cart
from catalog import tree
from orders.models import Coupon, Order, OrderEvent, OrderLine, Shipment
from orders.signals import order_cancelled, order_paid, order_placed, order_shipped

CENT = Decimal("0.01")
SHIPPING = Decimal("4.90")
FREE_FROM = Decimal("50")

Status, Kind = Order.Status, OrderEvent.Kind
# From which states a step may be taken, and where it leads.
STEPS = {
    Kind.PAID: ({Status.PLACED}, Status.PAID),
    Kind.SHIPPED: ({Status.PAID}, Status.SHIPPED),
    Kind.CANCELLED: ({Status.PLACED, Status.PAID}, Status.CANCELLED),
}


@transaction.atomic
def place(cart, user, address, coupon=None, billing_address=None):
    """Turn the cart into an order, reserve what it wants and empty the cart. Raises ``ValidationError``."""
    # Two tabs at once: the second finds the cart empty.
    Cart.objects.select_for_update().filter(pk=cart.pk).first()
    items = shopping.lines(cart)
    if not items:
        raise ValidationError(_("The cart is empty."))
    currency = _currency(items)
    subtotal = sum(item.total for item in items)
    discount = _used(coupon, items) if coupon else Decimal(0)
    shipping = shipping_of(subtotal - discount)
    order = Order.objects.create(
        user=user,
        shipping_address=address,
        billing_address=billing_address or address,
        coupon=coupon,
        subtotal=subtotal,
        discount=discount,
        shipping=shipping,
        total=subtotal - discount + shipping,
        currency=currency,
    )
    OrderLine.objects.bulk_create(
        OrderLine(
            order=order, product=item.product, name=item.product.name, price=item.product.price, quantity=item.quantity
        )
        for item in items
    )
    note(order, Kind.PLACED, lines=len(items))
    order_placed.send(Order, order=order)
    cart.items.all().delete()
    return order


def _currency(items):
    """Return what all of the items are sold in."""
    currency = items[0].product.currency
    for item in items:
        if not item.product.is_active:
            raise ValidationError(_("%(name)s is not for sale any more.") % {"name": item.product.name})
        if item.product.currency != currency:
            raise ValidationError(_("%(name)s is sold in another currency.") % {"name": item.product.name})
    return currency


def shipping_of(amount):
    """Return what it costs to send goods worth ``amount``."""
    return Decimal(0) if amount >= FREE_FROM else SHIPPING


def _used(coupon, items):
    """Count a use of the coupon and return what it takes off."""
    coupon = Coupon.objects.select_for_update().get(pk=coupon.pk)
    if not coupon.is_valid_at(timezone.now()):
        raise ValidationError(_("This coupon is not valid any more."))
    rebated = sum(item.total for item in items if _covers(coupon, item.product))
    if not rebated:
        raise ValidationError(_("This coupon is for other products."))
    Coupon.objects.filter(pk=coupon.pk).update(uses=F("uses") + 1)
    return (rebated * coupon.percent / 100).quantize(CENT, ROUND_HALF_UP)


def _covers(coupon, product):
    products = set(coupon.products.values_list("id", flat=True))
    roots = list(coupon.categories.values_list("id", flat=True))
    if not products and not roots:
        return True
    return product.id in products or any(product.category_id in tree.branch(root) for root in roots)


def mark_paid(order):
    return _step(order, Kind.PAID, order_paid)


def cancel(order):
    """Cancel an order that has not left the house. Raises ``ValidationError``."""
    return _step(order, Kind.CANCELLED, order_cancelled)


@transaction.atomic
def ship(order, carrier, tracking=""):
    """Note that a paid order has left the house. Raises ``ValidationError``."""
    shipped = _step(order, Kind.SHIPPED, order_shipped, carrier=carrier, tracking=tracking)
    return Shipment.objects.create(order=shipped, carrier=carrier, tracking=tracking)


@transaction.atomic
def put_away(order):
    """Leave an order that is done with out of all lists; its rows are kept. Raises ``ValidationError``."""
    locked = Order.objects.select_for_update().get(pk=order.pk)
    if locked.status not in {Status.SHIPPED, Status.CANCELLED}:
        raise _not_from(locked)
    locked.deleted_at = order.deleted_at = timezone.now()
    locked.save(update_fields=["deleted_at", "updated_at"])


def note(order, kind, **data):
    """Record what happened to an order; this counts as a change of it."""
    order.save(update_fields=["updated_at"])
    OrderEvent.objects.create(order=order, kind=kind, data=data)


@transaction.atomic
def _step(order, kind, signal, **data):
    """Take a step that is legal from the order's state, as it is in the database now."""
    locked = Order.objects.select_for_update().get(pk=order.pk)
    allowed, leads_to = STEPS[kind]
    if locked.status not in allowed:
        raise _not_from(locked)
    locked.status = order.status = leads_to
    locked.save(update_fields=["status"])
    note(locked, kind, **data)
    signal.send(Order, order=locked)
    return locked


def _not_from(order):
    return ValidationError(_("The order is %(status)s.") % {"status": order.get_status_display().lower()})
