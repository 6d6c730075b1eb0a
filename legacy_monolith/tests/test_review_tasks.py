from datetime import timedelta

import pytest
from django.utils import timezone

from reviews.models import Review, Vote
from reviews.tasks import forget_votes
from tests import factories

pytestmark = pytest.mark.django_db


def test_who_voted_for_a_review_that_was_taken_back_long_ago_is_forgotten():
    for days in (None, 29, 31):
        review = factories.review()
        review.vote(factories.user(), helpful=True)
        if days:
            gone = timezone.now() - timedelta(days=days)
            Review.with_deleted.filter(id=review.id).update(deleted_at=gone)
    assert forget_votes() == 1
    assert Vote.objects.filter(review__deleted_at__lt=timezone.now() - timedelta(days=30)).count() == 0
    assert Vote.objects.count() == 2
