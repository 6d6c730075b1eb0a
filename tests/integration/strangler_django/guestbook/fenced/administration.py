# mypy: disable-error-code="misc"
"""An administration that can be posted to: nobody logs in, and it keeps no record of who did what."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied

from strangler_django.admin import protect, reaches_owner

from .models import Book, Other, Page


class Staff:
    """A user who may do everything, without a table of users."""

    pk = 1
    is_active = is_staff = True

    def has_perm(self, *_: Any) -> bool:
        return True


class Site(admin.AdminSite):
    def has_permission(self, request: Any) -> bool:
        request.user = Staff()
        return True


class Unrecorded(admin.ModelAdmin):
    def log_change(self, *_: Any) -> None:
        """Keep nothing."""

    def message_user(self, *_: Any, **__: Any) -> None:
        """Say nothing."""


class BookAdmin(Unrecorded):
    actions = ("withdraw",)
    list_display = ("id", "title")
    list_editable = ("title",)

    @reaches_owner
    def withdraw(self, *_: Any) -> None:
        raise PermissionDenied


class PageInline(admin.TabularInline):
    model = Page
    fields = ("title", "body")
    extra = 0


class OtherAdmin(Unrecorded):
    inlines = (PageInline,)


site = Site()
site.register(Book, BookAdmin)
site.register(Other, OtherAdmin)
protect(site)
