"""What happens elsewhere in the shop, and who is told of it."""

from django.db.models.signals import post_save
from django.template.loader import render_to_string
from django.utils.translation import gettext as _

from accounts.models import User
from notifications.announce import announce
from notifications.models import Kind
from orders.signals import order_cancelled, order_paid, order_placed, order_shipped
from reviews.models import Review


def connect():
    post_save.connect(_review_saved, sender=Review, dispatch_uid="notifications")
    order_placed.connect(_placed, dispatch_uid="notifications")
    order_paid.connect(_paid, dispatch_uid="notifications")
    order_shipped.connect(_shipped, dispatch_uid="notifications")
    order_cancelled.connect(_cancelled, dispatch_uid="notifications")


def _placed(sender, order, **kwargs):
    _tell_customer(Kind.ORDER_PLACED, order, _("We have your order"))


def _paid(sender, order, **kwargs):
    _tell_customer(Kind.ORDER_PAID, order, _("We have your payment"))
    announce(Kind.ORDER_TO_SHIP, order, _staff(), **_order_letter(order, _("An order is to be shipped")))


def _shipped(sender, order, **kwargs):
    _tell_customer(Kind.ORDER_SHIPPED, order, _("Your order is on its way"))


def _cancelled(sender, order, **kwargs):
    _tell_customer(Kind.ORDER_CANCELLED, order, _("Your order is cancelled"))


def _tell_customer(kind, order, subject):
    announce(kind, order, [order.user], **_order_letter(order, subject))


def _order_letter(order, subject):
    """Return a letter in the language that is spoken now, and what the notification in the shop shows."""
    body = render_to_string("notifications/order.txt", {"order": order, "subject": subject})
    data = {"number": str(order.number), "total": str(order.total), "currency": order.currency}
    return {"subject": f"{subject} ({str(order.number)[:8]})", "body": body, "data": data}


def _review_saved(sender, instance, created, raw, **kwargs):
    if created and not raw:
        review_written(instance)


def review_written(review):
    announce(
        Kind.REVIEW_WRITTEN,
        review,
        [user for user in _staff() if user.id != review.author_id],
        subject=f"{review.rating}/5: {review.product.name}",
        body=f"{review.title}\n\n{review.body}",
        data={"product": review.product.slug, "rating": review.rating, "title": review.title},
    )


def _staff():
    return list(User.objects.filter(is_staff=True, is_active=True).order_by("id"))
