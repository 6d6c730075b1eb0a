"""Paying for orders, and giving money back."""

from time import perf_counter

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from orders.checkout import mark_paid, note
from orders.models import Order, OrderEvent
from payments import gateway
from payments.models import GatewayCall, Payment, Refund


def pay(order, number, holder):
    """Charge a card for an order, once: of one that is paid, the payment is returned.

    A declined card leaves the order payable. Raises ``ValidationError`` for a number that is none or an order that
    is not to be paid, and ``GatewayError`` when the bank does not answer; the attempt is kept either way.
    """
    with transaction.atomic():
        locked = Order.objects.select_for_update().get(pk=order.pk)
        if done := locked.payments.filter(status=Payment.Status.PAID).first():
            return done
        if locked.status != Order.Status.PLACED:
            raise ValidationError(_("The order is %(status)s.") % {"status": locked.get_status_display().lower()})
        payment = _attempt(locked, number, holder)
    if payment.status == Payment.Status.FAILED:
        raise gateway.GatewayError
    order.refresh_from_db()
    return payment


def _attempt(order, number, holder):
    began = perf_counter()
    try:
        answer = gateway.charge(number, order.total, order.currency)
        status = Payment.Status.PAID if answer.paid else Payment.Status.DECLINED
        result = answer.code
    except gateway.InvalidCard as error:
        raise ValidationError({"number": _("This is no card number.")}) from error
    except gateway.GatewayError:
        status, result = Payment.Status.FAILED, "no answer"
    payment = Payment.objects.create(
        order=order,
        amount=order.total,
        currency=order.currency,
        status=status,
        card_last4=number[-4:],
        holder=holder,
    )
    asked = {"amount": str(order.total), "currency": order.currency, "card": f"…{number[-4:]}"}
    milliseconds = (perf_counter() - began) * 1000
    GatewayCall.objects.create(payment=payment, asked=asked, answered={"result": result}, milliseconds=milliseconds)
    if status == Payment.Status.PAID:
        mark_paid(order)
    elif status == Payment.Status.DECLINED:
        note(order, OrderEvent.Kind.DECLINED, payment=str(payment.pk))
    return payment


@transaction.atomic
def refund(payment, reason=""):
    """Give the money of a payment back, once. Returns the refund; raises ``ValidationError``."""
    locked = Payment.objects.select_for_update().get(pk=payment.pk)
    if locked.status == Payment.Status.REFUNDED:
        return locked.refund
    if locked.status != Payment.Status.PAID:
        raise ValidationError(_("Nothing was paid."))
    locked.status = payment.status = Payment.Status.REFUNDED
    locked.save(update_fields=["status"])
    note(locked.order, OrderEvent.Kind.REFUNDED, payment=str(locked.pk), reason=reason)
    return Refund.objects.create(payment=locked, amount=locked.amount, reason=reason)
