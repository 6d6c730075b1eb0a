from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from notifications.models import Letter, Notification, Preference


@admin.register(Notification)
class NotificationAdmin(admin.ModelAdmin):
    list_display = ["kind", "recipient", "about_type", "about_id", "created_at", "read_at"]
    list_filter = ["kind", ("read_at", admin.EmptyFieldListFilter), "created_at"]
    search_fields = ["recipient__username", "recipient__email", "about_id"]
    autocomplete_fields = ["recipient"]
    readonly_fields = ["created_at"]
    list_select_related = ["recipient", "about_type"]
    date_hierarchy = "created_at"
    show_full_result_count = False
    actions = ["mark_as_read"]

    @admin.action(description=_("Mark the selected notifications as read"))
    def mark_as_read(self, request, queryset):
        self.message_user(request, _("%(count)s notifications are read.") % {"count": queryset.read()})


@admin.register(Preference)
class PreferenceAdmin(admin.ModelAdmin):
    list_display = ["user", "channel", "kinds"]
    list_filter = ["channel"]
    search_fields = ["user__username", "user__email"]
    autocomplete_fields = ["user"]
    list_select_related = ["user"]


@admin.register(Letter)
class LetterAdmin(admin.ModelAdmin):
    list_display = ["subject", "to", "status", "attempts", "send_after", "sent_at"]
    list_filter = ["status", "created_at"]
    search_fields = ["to", "subject", "body"]
    readonly_fields = ["status", "attempts", "sent_at", "last_error", "created_at"]
    date_hierarchy = "created_at"
    show_full_result_count = False
    actions = ["send_again"]

    @admin.action(description=_("Send the selected letters again"))
    def send_again(self, request, queryset):
        self.message_user(request, _("%(count)s letters are sent again.") % {"count": queryset.send_again()})
