from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.utils.translation import gettext_lazy as _

from accounts.models import Address, User


class AddressInline(admin.TabularInline):
    model = Address
    extra = 0


@admin.register(User)
class ShopUserAdmin(UserAdmin):
    list_display = ["username", "email", "first_name", "last_name", "newsletter", "is_staff"]
    list_filter = [*UserAdmin.list_filter, "newsletter"]
    fieldsets = [*UserAdmin.fieldsets, (_("Shop"), {"fields": ["newsletter"]})]
    add_fieldsets = [(None, {"classes": ["wide"], "fields": ["username", "email", "password1", "password2"]})]
    inlines = [AddressInline]


@admin.register(Address)
class AddressAdmin(admin.ModelAdmin):
    list_display = ["name", "user", "kind", "postcode", "city", "country"]
    list_filter = ["kind", "country"]
    search_fields = ["name", "street", "city", "postcode", "user__username", "user__email"]
    autocomplete_fields = ["user"]
    list_select_related = ["user"]
