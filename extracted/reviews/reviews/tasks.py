from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from reviews.models import Vote

TAKEN_BACK_FOR = timedelta(days=30)


@shared_task
def forget_votes():
    """Forget who voted for reviews that were taken back long ago. Returns how many votes that were."""
    old = Vote.objects.filter(review__deleted_at__lt=timezone.now() - TAKEN_BACK_FOR)
    return old.delete()[0]
