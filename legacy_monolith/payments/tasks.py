from celery import shared_task

from orders.models import Order
from payments.models import Payment
from payments.pay import refund


@shared_task
def settle():
    """Give back what was paid for orders that are cancelled, should that have failed. Returns how many."""
    owed = Payment.objects.filter(status=Payment.Status.PAID, order__status=Order.Status.CANCELLED)
    return len([refund(payment, reason="cancelled") for payment in owed.order_by("created_at", "id")])
