from urllib.parse import urlencode

from django.contrib import admin
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from reporting.asked import Asked
from reporting.models import DailySales, SavedReport
from reporting.sales import close_day, report


@admin.register(DailySales)
class DailySalesAdmin(admin.ModelAdmin):
    change_list_template = "admin/reporting/dailysales/change_list.html"
    list_display = ["day", "category", "orders", "units", "revenue", "closed_at"]
    list_filter = ["day", ("category", admin.RelatedOnlyFieldListFilter)]
    search_fields = ["category__name", "category__slug"]
    list_select_related = ["category"]
    date_hierarchy = "day"
    show_full_result_count = False
    actions = ["close_again"]

    def has_add_permission(self, request):
        return False

    def has_change_permission(self, request, obj=None):
        return False

    def has_delete_permission(self, request, obj=None):
        return False

    def get_urls(self):
        overview = self.admin_site.admin_view(self.overview)
        return [path("overview/", overview, name="reporting_dailysales_overview"), *super().get_urls()]

    def overview(self, request):
        asked = Asked.read({})
        days = report(asked)
        most = max((day["revenue"] for day in days), default=0) or 1
        context = {
            **self.admin_site.each_context(request),
            "title": _("The last 30 days"),
            "opts": self.opts,
            "days": [{**day, "percent_of_best": round(100 * day["revenue"] / most)} for day in reversed(days)],
        }
        return TemplateResponse(request, "admin/reporting/dailysales/overview.html", context)

    @admin.action(description=_("Count the days of the selected rows again"), permissions=["view"])
    def close_again(self, request, queryset):
        days = sorted(set(queryset.values_list("day", flat=True)))
        for day in days:
            close_day(day)
        self.message_user(request, _("%(count)s days are counted again.") % {"count": len(days)})


@admin.register(SavedReport)
class SavedReportAdmin(admin.ModelAdmin):
    list_display = ["name", "owner", "is_shared", "as_table", "created_at"]
    list_filter = ["is_shared"]
    search_fields = ["name", "owner__username"]
    autocomplete_fields = ["owner"]
    readonly_fields = ["created_at"]
    list_select_related = ["owner"]

    @admin.display(description=_("table"))
    def as_table(self, saved):
        query = urlencode({"saved": saved.pk, "format": "csv"})
        return format_html('<a href="{}?{}">CSV</a>', reverse("api-sales"), query)
