from datetime import timedelta

from celery import shared_task
from django.core.exceptions import ValidationError
from django.utils import timezone

from orders import checkout
from orders.models import Order

UNPAID_FOR = timedelta(hours=24)


@shared_task
def cancel_unpaid():
    """Cancel orders that were not paid in time. Returns how many."""
    late = Order.objects.filter(status=Order.Status.PLACED, placed_at__lt=timezone.now() - UNPAID_FOR)
    return sum(_cancelled(order) for order in late.order_by("id"))


def _cancelled(order):
    try:
        checkout.cancel(order)
    except ValidationError:  # paid meanwhile
        return False
    return True
