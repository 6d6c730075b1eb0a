from contextlib import contextmanager

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import IntegrityError, models, transaction
from django.db.models.functions import Coalesce, Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from catalog.models import Product

MOST_PHOTOS = 4
TOO_MANY_PHOTOS = _("A review has at most four photos.")
ALREADY_REVIEWED = _("You have already reviewed this product.")
NOT_ONES_OWN = _("You cannot vote for your own review.")
_ONE_EACH = "one_kept_review_per_author"


class TooManyPhotos(Exception):
    """A review would have more photos than it may."""


class AlreadyReviewed(Exception):
    """An author would have two reviews of a product."""


@contextmanager
def one_each():
    """Write a review, or all that happens inside, in a transaction; raises AlreadyReviewed."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError as exc:
        if exc.__cause__.diag.constraint_name != _ONE_EACH:
            raise
        raise AlreadyReviewed from exc


class Reviews(models.QuerySet):
    def published(self):
        return self.filter(is_published=True)

    def on_the_shelf(self):
        """Return what a visitor may read: published, and of products that are for sale."""
        return self.published().filter(product__is_active=True)

    def in_full(self):
        """Fetch what a review is shown with: its author, its photos, and how many found it helpful."""
        shown = self.select_related("author").prefetch_related("photos")
        return shown.annotate(helpful_count=Coalesce(_helpful_votes(), 0))

    def touch(self):
        return self.update(updated_at=timezone.now())


class KeptReviews(models.Manager.from_queryset(Reviews)):
    """Look at what is not deleted: everybody but the administration and the database forgets the rest."""

    def get_queryset(self):
        return super().get_queryset().filter(deleted_at=None)


class Review(models.Model):
    product = models.ForeignKey(
        Product,
        on_delete=models.CASCADE,
        related_name="reviews",
        verbose_name=_("product"),
    )
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="reviews",
        verbose_name=_("author"),
    )
    rating = models.PositiveSmallIntegerField(_("rating"), validators=[MinValueValidator(1), MaxValueValidator(5)])
    title = models.CharField(_("title"), max_length=120)
    body = models.TextField(_("review"), max_length=4000, blank=True)
    is_published = models.BooleanField(_("published"), default=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated at"), auto_now=True, db_default=Now())
    deleted_at = models.DateTimeField(_("deleted at"), null=True, blank=True, editable=False)

    objects = KeptReviews()
    with_deleted = Reviews.as_manager()

    class Meta:
        ordering = ["-created_at", "id"]
        verbose_name = _("review")
        verbose_name_plural = _("reviews")
        constraints = [
            models.UniqueConstraint(
                fields=["product", "author"],
                condition=models.Q(deleted_at=None),
                name=_ONE_EACH,
            ),
            models.CheckConstraint(condition=models.Q(rating__range=(1, 5)), name="rating_from_1_to_5"),
        ]
        indexes = [models.Index(fields=["product", "-created_at"])]

    def __str__(self):
        return f"{self.rating}/5 {self.title}"

    def withdraw(self):
        """Delete the review for everybody but the administration; its author may write another."""
        self.deleted_at = timezone.now()
        self.save(update_fields=["deleted_at", "updated_at"])

    def restore(self):
        """Undo `withdraw`; raises AlreadyReviewed when the author has written another."""
        self.deleted_at = None
        with one_each():
            self.save(update_fields=["deleted_at", "updated_at"])

    @transaction.atomic
    def add_photos(self, pictures):
        """Keep `pictures` behind the photos that there are, and return the new ones; raises TooManyPhotos."""
        # Two uploads at once: the second waits here and then counts what the first one brought.
        Review.with_deleted.select_for_update().get(id=self.id)
        free = sorted({*range(MOST_PHOTOS)} - {*self.photos.values_list("position", flat=True)})
        if len(pictures) > len(free):
            raise TooManyPhotos
        added = [self._add_photo(picture, position) for position, picture in zip(free, pictures, strict=False)]
        if added:
            Review.objects.filter(id=self.id).touch()
        return added

    def _add_photo(self, picture, position):
        photo = Photo(review=self, width=picture.width, height=picture.height, position=position)
        photo.image.save(picture.name, picture.file(), save=True)
        return photo

    @transaction.atomic
    def vote(self, user, helpful):
        """Remember whether `user` found the review helpful."""
        self.votes.update_or_create(user=user, defaults={"helpful": helpful})
        Review.objects.filter(id=self.id).touch()

    @transaction.atomic
    def take_back_vote(self, user):
        """Forget what `user` said, and return whether there was anything."""
        taken_back, _by_model = self.votes.filter(user=user).delete()
        if taken_back:
            Review.objects.filter(id=self.id).touch()
        return bool(taken_back)


class Photo(models.Model):
    review = models.ForeignKey(Review, on_delete=models.CASCADE, related_name="photos", verbose_name=_("review"))
    image = models.ImageField(_("image"), upload_to="reviews/")
    width = models.PositiveIntegerField(_("width"), editable=False)
    height = models.PositiveIntegerField(_("height"), editable=False)
    position = models.PositiveSmallIntegerField(_("position"), default=0)

    class Meta:
        ordering = ["position", "id"]
        verbose_name = _("photo")
        verbose_name_plural = _("photos")
        constraints = [
            models.UniqueConstraint(fields=["review", "position"], name="one_photo_at_a_position"),
            models.CheckConstraint(condition=models.Q(position__lt=MOST_PHOTOS), name="few_photos"),
        ]

    def __str__(self):
        return self.image.name


class Vote(models.Model):
    review = models.ForeignKey(Review, on_delete=models.CASCADE, related_name="votes", verbose_name=_("review"))
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="review_votes",
        verbose_name=_("user"),
    )
    helpful = models.BooleanField(_("helpful"))

    class Meta:
        verbose_name = _("vote")
        verbose_name_plural = _("votes")
        constraints = [models.UniqueConstraint(fields=["review", "user"], name="one_vote_per_user")]

    def __str__(self):
        return f"{self.user}: {'+' if self.helpful else '-'}"


class Job(models.Model):
    """A task of the reviews that has taken effect: should it be delivered again, it does not once more."""

    id = models.CharField(primary_key=True, max_length=255)
    name = models.CharField(max_length=255)
    done_at = models.DateTimeField(db_index=True)
    result = models.TextField(null=True)

    def __str__(self):
        return f"{self.name}[{self.id}]"


def _helpful_votes():
    counted = Vote.objects.filter(review=models.OuterRef("pk"), helpful=True).order_by().values("review")
    return models.Subquery(counted.annotate(count=models.Count("*")).values("count"))
