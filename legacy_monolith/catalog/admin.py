from django.contrib import admin
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from catalog.models import Category, Collection, CollectionEntry, PriceChange, Product
from reviews.models import Review


@admin.register(Category)
class CategoryAdmin(admin.ModelAdmin):
    list_display = ["name", "parent", "slug", "position"]
    list_editable = ["position"]
    list_filter = [("parent", admin.RelatedOnlyFieldListFilter)]
    search_fields = ["name", "slug"]
    prepopulated_fields = {"slug": ["name"]}
    autocomplete_fields = ["parent"]
    list_select_related = ["parent"]


class ReviewInline(admin.TabularInline):
    model = Review
    fields = ["author", "rating", "title", "body", "is_published"]
    autocomplete_fields = ["author"]
    extra = 0


class PriceInline(admin.TabularInline):
    model = PriceChange
    fields = readonly_fields = ["at", "before", "after"]
    extra = 0
    can_delete = False

    def has_add_permission(self, request, obj=None):
        return False


class EntryInline(admin.TabularInline):
    model = CollectionEntry
    autocomplete_fields = ["product"]
    extra = 0


@admin.register(Collection)
class CollectionAdmin(admin.ModelAdmin):
    list_display = ["title", "slug"]
    search_fields = ["title"]
    prepopulated_fields = {"slug": ["title"]}
    inlines = [EntryInline]


# What others count and write at any moment: a form that was opened before must not write it back.
COUNTED = ["stock", "rating", "review_count"]


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    list_display = ["name", "sku", "category", "price", "stock", "rating", "review_count", "is_active"]
    list_filter = ["is_active", "currency", "created_at", ("category", admin.RelatedOnlyFieldListFilter)]
    search_fields = ["name", "sku", "description"]
    prepopulated_fields = {"slug": ["name"]}
    autocomplete_fields = ["category"]
    readonly_fields = ["picture", "public_id", *COUNTED, "created_at", "updated_at"]
    list_select_related = ["category"]
    date_hierarchy = "created_at"
    list_per_page = 50
    inlines = [PriceInline, ReviewInline]
    actions = ["activate", "deactivate"]

    def has_delete_permission(self, request, obj=None):
        # A product that was once sold stays known; it is taken off the shelf instead.
        return False

    def save_model(self, request, product, form, change):
        own = [field.name for field in Product._meta.concrete_fields if field.name not in {"id", *COUNTED}]
        product.save(update_fields=own if change else None)

    @admin.display(description=_("picture"))
    def picture(self, product):
        return format_html('<img src="{}" width="160" height="160" alt="">', product.image_path) if product.pk else "–"

    @admin.action(description=_("Put the selected products on the shelf"))
    def activate(self, request, queryset):
        self._set_active(request, queryset, True)

    @admin.action(description=_("Take the selected products off the shelf"))
    def deactivate(self, request, queryset):
        self._set_active(request, queryset, False)

    def _set_active(self, request, queryset, active):
        # One by one, so that whoever listens to products hears of each.
        for product in queryset:
            product.is_active = active
            product.save(update_fields=["is_active", "updated_at"])
        self.message_user(request, _("%(count)s products changed.") % {"count": len(queryset)})
