from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from reviews.models import Review
from reviews.signals import refresh_rating


@admin.register(Review)
class ReviewAdmin(admin.ModelAdmin):
    list_display = ["title", "product", "author", "rating", "is_published", "created_at"]
    list_filter = ["is_published", "rating", "created_at"]
    search_fields = ["title", "body", "product__name", "product__sku", "author__username"]
    autocomplete_fields = ["product", "author"]
    readonly_fields = ["created_at"]
    list_select_related = ["product", "author"]
    show_full_result_count = False
    actions = ["publish", "hide"]

    @admin.action(description=_("Publish the selected reviews"))
    def publish(self, request, queryset):
        self._set_published(request, queryset, True)

    @admin.action(description=_("Hide the selected reviews"))
    def hide(self, request, queryset):
        self._set_published(request, queryset, False)

    def delete_queryset(self, request, queryset):
        products = _products(queryset)
        super().delete_queryset(request, queryset)
        _refresh(products)

    def _set_published(self, request, queryset, published):
        products = _products(queryset)
        changed = queryset.update(is_published=published)
        _refresh(products)
        self.message_user(request, _("%(count)s reviews changed.") % {"count": changed})


def _products(reviews):
    return sorted(set(reviews.values_list("product_id", flat=True)))


def _refresh(product_ids):
    for product_id in product_ids:
        refresh_rating(product_id)
