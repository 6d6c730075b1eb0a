"""What happens to the stock.

Whoever changes a level holds all levels of the products concerned first, in the order of their ids: two orders, or an
order and a delivery, never wait for one another in a ring, neither for levels nor for the products' rows behind them.
"""

from datetime import timedelta

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from inventory.models import Reservation, StockLevel, StockMovement

HELD_FOR = timedelta(hours=24)


@transaction.atomic
def reserve(order):
    """Hold what the order's lines want, from the first warehouse that has it. Raises ``ValidationError``."""
    wanted = {line.product_id: line.quantity for line in order.lines.all()}
    levels = hold(wanted)
    expires_at = timezone.now() + HELD_FOR
    for product_id, quantity in wanted.items():
        own = sorted((level for level in levels if level.product_id == product_id), key=_place)
        _hold(order, own, quantity, expires_at)


def _place(level):
    return level.warehouse.position, level.warehouse_id


def _hold(order, levels, quantity, expires_at):
    free = sum(level.free for level in levels)
    if free < quantity:
        name = order.lines.get(product_id=levels[0].product_id).name if levels else _("This product")
        raise ValidationError(_("%(name)s: only %(count)s left.") % {"name": name, "count": max(free, 0)})
    for level in levels:
        part = min(quantity, level.free)
        if part:
            level.reserved += part
            level.save(update_fields=["reserved"])
            Reservation.objects.create(order=order, level=level, quantity=part, expires_at=expires_at)
            quantity -= part


@transaction.atomic
def take(order):
    """Let what was held for a paid order leave the house."""
    for held, level in _held(order, Reservation.Status.HELD):
        level.reserved -= held.quantity
        level.on_hand -= held.quantity
        level.save(update_fields=["reserved", "on_hand"])
        _moved(level, -held.quantity, StockMovement.Why.SOLD, order)
        _now(held, Reservation.Status.TAKEN)


@transaction.atomic
def release(order):
    """Put back what was held for or taken by an order that is not to be."""
    for held, level in _held(order, Reservation.Status.HELD):
        level.reserved -= held.quantity
        level.save(update_fields=["reserved"])
        _now(held, Reservation.Status.RELEASED)
    for taken, level in _held(order, Reservation.Status.TAKEN):
        level.on_hand += taken.quantity
        level.save(update_fields=["on_hand"])
        _moved(level, taken.quantity, StockMovement.Why.RETURNED, order)
        _now(taken, Reservation.Status.RELEASED)


@transaction.atomic
def receive(delivery):
    """Book a delivery that has come; a second time changes nothing. Returns whether it was booked."""
    delivery = type(delivery).objects.select_for_update().get(pk=delivery.pk)
    if delivery.received_at:
        return False
    hold(delivery.lines.values("product"))
    for line in delivery.lines.order_by("product_id"):
        level = _opened(line.product_id, delivery.warehouse_id)
        level.on_hand += line.quantity
        level.save(update_fields=["on_hand"])
        note = {"delivery": delivery.pk}
        StockMovement.objects.create(level=level, change=line.quantity, why=StockMovement.Why.DELIVERED, note=note)
    delivery.received_at = timezone.now()
    delivery.save(update_fields=["received_at"])
    return True


@transaction.atomic
def count(product, warehouse, on_hand):
    """Set what was counted. Raises ``ValidationError`` when more of it is reserved than there is."""
    hold([product.pk])
    level = _opened(product.pk, warehouse.pk)
    if on_hand < level.reserved:
        raise ValidationError(_("%(count)s are reserved; fewer cannot be on hand.") % {"count": level.reserved})
    change = on_hand - level.on_hand
    if change:
        level.on_hand = on_hand
        level.save(update_fields=["on_hand"])
        StockMovement.objects.create(level=level, change=change, why=StockMovement.Why.COUNTED)
    return level


def hold(products):
    """Lock and return all levels of ``products`` (their ids) until the transaction ends."""
    levels = StockLevel.objects.select_related("warehouse").select_for_update(of=("self",))
    return list(levels.filter(product__in=products).order_by("id"))


def _opened(product_id, warehouse_id):
    # Locked again: somebody else may have made it after all that there were are held.
    return StockLevel.objects.select_for_update().get_or_create(product_id=product_id, warehouse_id=warehouse_id)[0]


def _held(order, status):
    found = {each.level_id: each for each in order.reservations.filter(status=status)}
    return [(found[level.id], level) for level in hold(order.lines.values("product")) if level.id in found]


def _moved(level, change, why, order):
    StockMovement.objects.create(level=level, change=change, why=why, note={"order": str(order.number)})


def _now(reservation, status):
    reservation.status = status
    reservation.save(update_fields=["status"])
