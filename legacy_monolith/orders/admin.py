from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from orders import checkout
from orders.models import Coupon, Order, OrderEvent, OrderLine, Shipment


class Shown(admin.TabularInline):
    """Rows that are looked at, and change by what happens to the order only."""

    extra = 0
    can_delete = False

    def has_add_permission(self, request, obj=None):
        return False

    def has_change_permission(self, request, obj=None):
        return False


class LineInline(Shown):
    model = OrderLine
    fields = ["product", "name", "price", "quantity"]


class EventInline(Shown):
    model = OrderEvent
    fields = ["at", "kind", "data"]


class ShipmentInline(Shown):
    model = Shipment
    fields = ["carrier", "tracking", "shipped_at"]


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    list_display = ["number", "user", "status", "total", "currency", "placed_at"]
    list_filter = ["status", "placed_at"]
    list_select_related = ["user"]
    search_fields = ["number", "user__username", "user__email"]
    readonly_fields = [field.name for field in Order._meta.fields]
    date_hierarchy = "placed_at"
    inlines = [LineInline, ShipmentInline, EventInline]
    actions = ["ship", "cancel", "put_away"]

    def has_add_permission(self, request):
        return False

    def has_delete_permission(self, request, obj=None):
        return False

    @admin.action(description=_("Mark the selected orders as shipped"))
    def ship(self, request, queryset):
        self._each(request, queryset, lambda order: checkout.ship(order, "Post"))

    @admin.action(description=_("Cancel the selected orders"))
    def cancel(self, request, queryset):
        self._each(request, queryset, checkout.cancel)

    @admin.action(description=_("Put the selected orders away"))
    def put_away(self, request, queryset):
        self._each(request, queryset, checkout.put_away)

    def _each(self, request, queryset, step):
        done = 0
        for order in queryset.order_by("id"):
            try:
                step(order)
                done += 1
            except ValidationError as error:
                self.message_user(request, f"{order}: {' '.join(error.messages)}", messages.WARNING)
        self.message_user(request, _("%(count)s orders changed.") % {"count": done})


@admin.register(Coupon)
class CouponAdmin(admin.ModelAdmin):
    list_display = ["code", "percent", "valid_from", "valid_until", "uses", "most_uses"]
    search_fields = ["code"]
    autocomplete_fields = ["products", "categories"]
    readonly_fields = ["uses"]
