from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from cart.models import Cart

ANONYMOUS_FOR = timedelta(days=30)


@shared_task
def forget_old_carts():
    """Forget carts of nobody that nobody came back to. Returns how many."""
    old = Cart.objects.filter(user=None, updated_at__lt=timezone.now() - ANONYMOUS_FOR)
    return old.delete()[1].get("cart.Cart", 0)
