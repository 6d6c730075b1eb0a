from django.contrib import admin, messages
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from reviews.models import AlreadyReviewed, Photo, Review, Vote
from reviews.signals import refresh_rating
from shop import elsewhere


class PhotoInline(admin.TabularInline):
    model = Photo
    fields = ["seen", "width", "height", "position"]
    readonly_fields = ["seen", "width", "height", "position"]
    extra = 0

    def has_add_permission(self, request, obj):
        # A customer's photo comes from the customer; what came is looked at, and taken away.
        return False

    @admin.display(description=_("image"))
    def seen(self, photo):
        return format_html('<img src="{}" width="160" alt="">', photo.image.url)


class VoteInline(admin.TabularInline):
    model = Vote
    autocomplete_fields = ["user"]
    extra = 0


class Deleted(admin.SimpleListFilter):
    title = _("deleted")
    parameter_name = "deleted"

    def lookups(self, request, model_admin):
        return [("yes", _("Deleted")), ("all", _("All"))]

    def choices(self, changelist):
        kept, *others = super().choices(changelist)
        return [{**kept, "display": _("Kept")}, *others]

    def queryset(self, request, queryset):
        if self.value() == "all":
            return queryset
        return queryset.filter(deleted_at__isnull=self.value() != "yes")


@admin.register(Review)
class ReviewAdmin(admin.ModelAdmin):
    list_display = ["title", "product", "author", "rating", "is_published", "created_at", "deleted_at"]
    list_filter = [Deleted, "is_published", "rating", "created_at"]
    search_fields = ["title", "body", "product__name", "product__sku", "author__username"]
    autocomplete_fields = ["product", "author"]
    readonly_fields = ["created_at", "updated_at", "deleted_at"]
    list_select_related = ["product", "author"]
    date_hierarchy = "created_at"
    show_full_result_count = False
    inlines = [PhotoInline, VoteInline]
    actions = ["publish", "hide", "restore"]

    def get_queryset(self, request):
        return Review.with_deleted.order_by(*self.get_ordering(request) or Review._meta.ordering)

    @elsewhere.reached
    @admin.action(description=_("Publish the selected reviews"))
    def publish(self, request, queryset):
        self._set_published(request, queryset, True)

    @elsewhere.reached
    @admin.action(description=_("Hide the selected reviews"))
    def hide(self, request, queryset):
        self._set_published(request, queryset, False)

    @admin.action(description=_("Restore the selected reviews"))
    def restore(self, request, queryset):
        deleted = queryset.exclude(deleted_at=None)
        refused = [review for review in deleted if not _restored(review)]
        self._tell_changed(request, len(deleted) - len(refused))
        for review in refused:
            message = _("“%(review)s” stays deleted: its author has written another.") % {"review": review}
            self.message_user(request, message, messages.ERROR)

    def delete_model(self, request, obj):
        obj.withdraw()

    def delete_queryset(self, request, queryset):
        products = _products(queryset)
        queryset.filter(deleted_at=None).update(deleted_at=timezone.now(), updated_at=timezone.now())
        _refresh(products)

    def _set_published(self, request, queryset, is_published):
        if elsewhere.owned("reviews"):
            self._have_published(request, queryset, is_published)
            return
        products = _products(queryset)
        changed = queryset.update(is_published=is_published, updated_at=timezone.now())
        _refresh(products)
        self._tell_changed(request, changed)

    def _have_published(self, request, queryset, is_published):
        """Have the service do it that owns the reviews; what follows from it comes with the rows."""
        wanted = {"ids": sorted(queryset.values_list("id", flat=True)), "is_published": is_published}
        path = "/internal/reviews/published/"
        try:
            done = elsewhere.ask("reviews", "PUT", path, json=wanted, user=request.user, deadline_s=10)
        except elsewhere.failures() as problem:
            self.message_user(request, str(problem), messages.ERROR)
        else:
            self._tell_changed(request, done.data["changed"])

    def _tell_changed(self, request, count):
        self.message_user(request, _("%(count)s reviews changed.") % {"count": count})


def _restored(review):
    try:
        review.restore()
    except AlreadyReviewed:
        return False
    return True


def _products(reviews):
    return sorted(set(reviews.values_list("product_id", flat=True)))


def _refresh(product_ids):
    for product_id in product_ids:
        refresh_rating(product_id)
