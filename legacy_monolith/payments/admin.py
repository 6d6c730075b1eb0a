from django.contrib import admin
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from payments.models import GatewayCall, Payment, Refund
from payments.pay import refund


class CallInline(admin.TabularInline):
    model = GatewayCall
    fields = readonly_fields = ["at", "asked", "answered", "milliseconds"]
    extra = 0
    can_delete = False

    def has_add_permission(self, request, obj=None):
        return False


class RefundInline(admin.TabularInline):
    model = Refund
    fields = readonly_fields = ["at", "amount", "reason"]
    extra = 0
    can_delete = False

    def has_add_permission(self, request, obj=None):
        return False


@admin.register(Payment)
class PaymentAdmin(admin.ModelAdmin):
    list_display = ["order", "amount", "currency", "status", "card_last4", "created_at"]
    list_filter = ["status", "created_at"]
    list_select_related = ["order"]
    search_fields = ["order__number", "holder", "card_last4"]
    readonly_fields = [field.name for field in Payment._meta.fields]
    inlines = [CallInline, RefundInline]
    actions = ["give_back"]

    def has_add_permission(self, request):
        return False

    def has_delete_permission(self, request, obj=None):
        return False

    @admin.action(description=_("Refund the selected payments"))
    def give_back(self, request, queryset):
        done = 0
        for payment in queryset.order_by("created_at", "id"):
            try:
                refund(payment, reason=f"by {request.user}")
                done += 1
            except ValidationError as error:
                self.message_user(request, f"{payment}: {' '.join(error.messages)}", "warning")
        self.message_user(request, _("%(count)s payments refunded.") % {"count": done})
