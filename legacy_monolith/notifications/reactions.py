"""What follows from reviews that came by the stream."""

from strangler_django.reactions import reaction

from notifications.signals import review_written
from reviews.models import Review


@reaction("review-written")
def tell_staff(change):
    if change.op == "insert" and (review := Review.objects.filter(id=change.key["id"]).first()):
        review_written(review)
