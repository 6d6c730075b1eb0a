from datetime import timedelta

from django.conf import settings
from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

MOST_ATTEMPTS = 5


class Kind(models.TextChoices):
    ORDER_PLACED = "order_placed", _("Order placed")
    ORDER_PAID = "order_paid", _("Order paid")
    ORDER_SHIPPED = "order_shipped", _("Order shipped")
    ORDER_CANCELLED = "order_cancelled", _("Order cancelled")
    ORDER_TO_SHIP = "order_to_ship", _("Order to ship")
    REVIEW_WRITTEN = "review_written", _("Review written")


class Channel(models.TextChoices):
    SITE = "site", _("In the shop")
    MAIL = "mail", _("By mail")


class Notifications(models.QuerySet):
    def unread(self):
        return self.filter(read_at=None)

    def read(self):
        """Mark as read what is not yet, and return how many those were."""
        return self.unread().update(read_at=timezone.now())


class Notification(models.Model):
    recipient = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="notifications",
        verbose_name=_("recipient"),
    )
    kind = models.CharField(_("kind"), max_length=20, choices=Kind.choices)
    about_type = models.ForeignKey(ContentType, on_delete=models.CASCADE, verbose_name=_("type"))
    # As text: rows of any table may be meant, whatever their key is.
    about_id = models.CharField(_("key"), max_length=40)
    about = GenericForeignKey("about_type", "about_id")
    data = models.JSONField(_("data"), default=dict, blank=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    read_at = models.DateTimeField(_("read at"), null=True, blank=True)

    objects = Notifications.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        verbose_name = _("notification")
        verbose_name_plural = _("notifications")
        indexes = [
            models.Index(fields=["recipient", "-created_at"]),
            models.Index(fields=["recipient"], condition=Q(read_at=None), name="unread_notifications"),
            models.Index(fields=["about_type", "about_id"]),
        ]

    def __str__(self):
        return f"{self.get_kind_display()} ({self.about_id})"


class Preference(models.Model):
    """What a user wants to hear of in a channel. Where there is none, DEFAULTS hold."""

    DEFAULTS = {
        Channel.SITE: frozenset(Kind),
        Channel.MAIL: frozenset({Kind.ORDER_PLACED, Kind.ORDER_PAID, Kind.ORDER_SHIPPED, Kind.ORDER_CANCELLED}),
    }

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="preferences",
        verbose_name=_("user"),
    )
    channel = models.CharField(_("channel"), max_length=10, choices=Channel.choices)
    kinds = ArrayField(
        models.CharField(max_length=20, choices=Kind.choices), verbose_name=_("kinds"), default=list, blank=True
    )

    class Meta:
        verbose_name = _("preference")
        verbose_name_plural = _("preferences")
        constraints = [models.UniqueConstraint(fields=["user", "channel"], name="one_preference_per_channel")]

    def __str__(self):
        return f"{self.get_channel_display()}: {', '.join(self.kinds)}"


class Letters(models.QuerySet):
    def due(self):
        return self.filter(status=Letter.Status.PENDING, send_after__lte=timezone.now()).order_by("send_after", "id")

    def send_again(self):
        """Queue letters anew, whatever became of them, and return how many those are."""
        return self.update(status=Letter.Status.PENDING, attempts=0, send_after=timezone.now(), sent_at=None)


class Letter(models.Model):
    """Mail on its way out."""

    class Status(models.TextChoices):
        PENDING = "pending", _("Pending")
        SENT = "sent", _("Sent")
        FAILED = "failed", _("Failed")

    to = models.EmailField(_("to"))
    subject = models.CharField(_("subject"), max_length=200)
    body = models.TextField(_("text"))
    status = models.CharField(_("status"), max_length=10, choices=Status.choices, default=Status.PENDING)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    send_after = models.DateTimeField(_("send after"), default=timezone.now)
    sent_at = models.DateTimeField(_("sent at"), null=True, blank=True)
    last_error = models.TextField(_("last error"), blank=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    objects = Letters.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        verbose_name = _("letter")
        verbose_name_plural = _("letters")
        constraints = [
            models.CheckConstraint(condition=Q(attempts__lte=MOST_ATTEMPTS), name="letter_attempts_bounded"),
            models.CheckConstraint(
                condition=Q(status="sent", sent_at__isnull=False) | (~Q(status="sent") & Q(sent_at__isnull=True)),
                name="letter_sent_has_its_moment",
            ),
        ]
        indexes = [models.Index(fields=["send_after"], condition=Q(status="pending"), name="letters_to_send")]

    def __str__(self):
        return f"{self.subject} → {self.to}"

    def sent(self):
        self.status, self.sent_at, self.last_error = self.Status.SENT, timezone.now(), ""
        self.attempts += 1
        self.save()

    def not_sent(self, problem):
        """Try again after 2, 4, 8 and 16 minutes, then give up."""
        self.attempts += 1
        self.last_error = f"{type(problem).__name__}: {problem}"
        self.send_after = timezone.now() + timedelta(minutes=2**self.attempts)
        if self.attempts >= MOST_ATTEMPTS:
            self.status = self.Status.FAILED
        self.save()
