"""A cancelled order gets its money back."""

from orders.signals import order_cancelled
from payments.models import Payment
from payments.pay import refund


def connect():
    order_cancelled.connect(_give_back, dispatch_uid="payments")


def _give_back(sender, order, **kwargs):
    for payment in order.payments.filter(status=Payment.Status.PAID):
        refund(payment, reason="cancelled")
