from celery import shared_task
from django.core.exceptions import ValidationError
from django.utils import timezone

from inventory.models import Reservation
from orders import checkout
from orders.models import Order


@shared_task
def expire_reservations():
    """Cancel unpaid orders whose reservations have run out, which gives the stock back. Returns how many."""
    late = Reservation.objects.filter(status=Reservation.Status.HELD, expires_at__lt=timezone.now())
    orders = Order.objects.filter(id__in=late.values("order"), status=Order.Status.PLACED).order_by("id")
    return sum(_given_back(order) for order in orders)


def _given_back(order):
    try:
        checkout.cancel(order)
    except ValidationError:  # paid meanwhile
        return False
    return True
