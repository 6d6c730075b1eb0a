import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

from orders.models import Order


class Payment(models.Model):
    class Status(models.TextChoices):
        PAID = "paid", _("Paid")
        DECLINED = "declined", _("Declined")
        FAILED = "failed", _("Failed")
        REFUNDED = "refunded", _("Refunded")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="payments", verbose_name=_("order"))
    amount = models.DecimalField(_("amount"), max_digits=12, decimal_places=2)
    currency = models.CharField(_("currency"), max_length=3)
    status = models.CharField(_("status"), max_length=10, choices=Status.choices)
    card_last4 = models.CharField(_("last four digits"), max_length=4)
    holder = models.CharField(_("holder"), max_length=120)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        ordering = ["-created_at", "id"]
        verbose_name = _("payment")
        verbose_name_plural = _("payments")
        constraints = [
            models.UniqueConstraint(fields=["order"], condition=models.Q(status="paid"), name="paid_once"),
        ]

    def __str__(self):
        return f"{self.amount} {self.currency}, {self.get_status_display()}"


class Refund(models.Model):
    payment = models.OneToOneField(Payment, on_delete=models.PROTECT, related_name="refund", verbose_name=_("payment"))
    amount = models.DecimalField(_("amount"), max_digits=12, decimal_places=2)
    reason = models.CharField(_("reason"), max_length=200, blank=True)
    at = models.DateTimeField(_("at"), auto_now_add=True)

    class Meta:
        ordering = ["-at", "id"]
        verbose_name = _("refund")
        verbose_name_plural = _("refunds")

    def __str__(self):
        return f"{self.amount} {self.payment.currency}"


class GatewayCall(models.Model):
    """What the bank was asked and what it said; a card's number is in neither."""

    payment = models.ForeignKey(Payment, on_delete=models.CASCADE, related_name="calls", verbose_name=_("payment"))
    asked = models.JSONField(_("asked"))
    answered = models.JSONField(_("answered"))
    milliseconds = models.FloatField(_("milliseconds"))
    at = models.DateTimeField(_("at"), auto_now_add=True)

    class Meta:
        ordering = ["-at", "id"]
        verbose_name = _("gateway call")
        verbose_name_plural = _("gateway calls")

    def __str__(self):
        return f"{self.answered.get('result', '')} ({self.milliseconds:.0f} ms)"
