from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from inventory import stock
from inventory.models import Delivery, DeliveryLine, Reservation, StockLevel, StockMovement, Supplier, Warehouse


class Untouched:
    """What is looked at and never edited: it changes by what happens in the house."""

    def has_add_permission(self, request, obj=None):
        return False

    def has_change_permission(self, request, obj=None):
        return False

    def has_delete_permission(self, request, obj=None):
        return False


@admin.register(Supplier)
class SupplierAdmin(admin.ModelAdmin):
    list_display = ["name", "email", "lead_days"]
    search_fields = ["name", "email"]


@admin.register(Warehouse)
class WarehouseAdmin(admin.ModelAdmin):
    list_display = ["name", "code", "position"]
    list_editable = ["position"]
    search_fields = ["name", "code"]


class MovementInline(Untouched, admin.TabularInline):
    model = StockMovement
    fields = readonly_fields = ["at", "change", "why", "note"]
    extra = 0


@admin.register(StockLevel)
class StockLevelAdmin(Untouched, admin.ModelAdmin):
    list_display = ["product", "warehouse", "on_hand", "reserved", "free"]
    list_filter = ["warehouse"]
    list_select_related = ["product", "warehouse"]
    search_fields = ["product__name", "product__sku"]
    inlines = [MovementInline]


class DeliveryLineInline(admin.TabularInline):
    model = DeliveryLine
    autocomplete_fields = ["product"]
    extra = 1


@admin.register(Delivery)
class DeliveryAdmin(admin.ModelAdmin):
    list_display = ["supplier", "warehouse", "expected_on", "received_at"]
    list_filter = ["warehouse", ("received_at", admin.EmptyFieldListFilter)]
    list_select_related = ["supplier", "warehouse"]
    autocomplete_fields = ["supplier", "warehouse"]
    readonly_fields = ["received_at"]
    inlines = [DeliveryLineInline]
    actions = ["receive"]

    @admin.action(description=_("Book the selected deliveries as received"))
    def receive(self, request, queryset):
        booked = sum(stock.receive(delivery) for delivery in queryset.order_by("id"))
        self.message_user(request, _("%(count)s deliveries booked.") % {"count": booked})


@admin.register(Reservation)
class ReservationAdmin(Untouched, admin.ModelAdmin):
    list_display = ["order", "level", "quantity", "status", "expires_at"]
    list_filter = ["status"]
    list_select_related = ["order", "level__product", "level__warehouse"]
