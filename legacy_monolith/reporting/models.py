from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from catalog.models import Category
from reporting.asked import Asked


class DailySales(models.Model):
    """What a category sold on a day that is over; counted anew by `close_day`, never written by hand."""

    day = models.DateField(_("day"))
    category = models.ForeignKey(Category, on_delete=models.PROTECT, related_name="sales", verbose_name=_("category"))
    orders = models.PositiveIntegerField(_("number of orders"))
    units = models.PositiveIntegerField(_("units"))
    revenue = models.DecimalField(_("revenue"), max_digits=14, decimal_places=2)
    closed_at = models.DateTimeField(_("closed at"))

    class Meta:
        ordering = ["-day", "category"]
        verbose_name = _("sales of a day")
        verbose_name_plural = _("sales by day")
        constraints = [models.UniqueConstraint(fields=["day", "category"], name="one_count_of_a_day")]

    def __str__(self):
        return f"{self.day}, {self.category}: {self.revenue}"


def check_query(query):
    problems = Asked.problems(query) if isinstance(query, dict) else _("A JSON object is wanted.")
    if problems:
        raise ValidationError(_("No report can be made of that: %(problems)s"), params={"problems": problems})


class SavedReport(models.Model):
    name = models.CharField(_("name"), max_length=80)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="reports", verbose_name=_("owner")
    )
    query = models.JSONField(
        _("query"),
        default=dict,
        blank=True,
        validators=[check_query],
        help_text=_('Such as {"by": "category", "since": "2025-01-01", "category": "kitchen"}.'),
    )
    is_shared = models.BooleanField(_("shared"), default=False, help_text=_("Everybody who runs the shop sees it."))
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        ordering = ["name", "id"]
        verbose_name = _("saved report")
        verbose_name_plural = _("saved reports")
        constraints = [models.UniqueConstraint(fields=["owner", "name"], name="one_report_of_a_name")]

    def __str__(self):
        return self.name
