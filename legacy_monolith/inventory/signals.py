"""Orders move the stock."""

from inventory import stock
from orders.signals import order_cancelled, order_paid, order_placed


def connect():
    order_placed.connect(_placed, dispatch_uid="inventory")
    order_paid.connect(_paid, dispatch_uid="inventory")
    order_cancelled.connect(_cancelled, dispatch_uid="inventory")


def _placed(sender, order, **kwargs):
    stock.reserve(order)


def _paid(sender, order, **kwargs):
    stock.take(order)


def _cancelled(sender, order, **kwargs):
    stock.release(order)
