from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from catalog.models import Product


class Supplier(models.Model):
    name = models.CharField(_("name"), max_length=120, unique=True)
    email = models.EmailField(_("email address"))
    lead_days = models.PositiveSmallIntegerField(_("days to deliver"), default=14)

    class Meta:
        ordering = ["name"]
        verbose_name = _("supplier")
        verbose_name_plural = _("suppliers")

    def __str__(self):
        return self.name


class Warehouse(models.Model):
    code = models.SlugField(_("code"), max_length=12, unique=True)
    name = models.CharField(_("name"), max_length=80)
    position = models.PositiveSmallIntegerField(_("position"), default=0, help_text=_("Orders take from the first."))

    class Meta:
        ordering = ["position", "id"]
        verbose_name = _("warehouse")
        verbose_name_plural = _("warehouses")

    def __str__(self):
        return self.name


class StockLevel(models.Model):
    """What lies where; a trigger of the database keeps the product's own ``stock`` equal to what is free of it."""

    product = models.ForeignKey(Product, on_delete=models.CASCADE, related_name="levels", verbose_name=_("product"))
    warehouse = models.ForeignKey(
        Warehouse, on_delete=models.PROTECT, related_name="levels", verbose_name=_("warehouse")
    )
    on_hand = models.PositiveIntegerField(_("on hand"), default=0)
    reserved = models.PositiveIntegerField(_("reserved"), default=0)

    class Meta:
        ordering = ["product", "warehouse"]
        verbose_name = _("stock level")
        verbose_name_plural = _("stock levels")
        constraints = [
            models.UniqueConstraint(fields=["product", "warehouse"], name="one_level_in_a_warehouse"),
            models.CheckConstraint(condition=Q(reserved__lte=F("on_hand")), name="reserved_is_on_hand"),
        ]

    def __str__(self):
        return f"{self.product}: {self.free}"

    @property
    def free(self):
        return self.on_hand - self.reserved


class StockMovement(models.Model):
    class Why(models.TextChoices):
        DELIVERED = "delivered", _("Delivered")
        SOLD = "sold", _("Sold")
        RETURNED = "returned", _("Returned")
        COUNTED = "counted", _("Counted")

    level = models.ForeignKey(
        StockLevel, on_delete=models.CASCADE, related_name="movements", verbose_name=_("stock level")
    )
    change = models.IntegerField(_("change"))
    why = models.CharField(_("why"), max_length=10, choices=Why.choices)
    note = models.JSONField(_("note"), default=dict, blank=True)
    at = models.DateTimeField(_("at"), auto_now_add=True)

    class Meta:
        ordering = ["-at", "-id"]
        verbose_name = _("stock movement")
        verbose_name_plural = _("stock movements")

    def __str__(self):
        return f"{self.change:+} {self.get_why_display()}"


class Delivery(models.Model):
    supplier = models.ForeignKey(
        Supplier, on_delete=models.PROTECT, related_name="deliveries", verbose_name=_("supplier")
    )
    warehouse = models.ForeignKey(
        Warehouse, on_delete=models.PROTECT, related_name="deliveries", verbose_name=_("warehouse")
    )
    products = models.ManyToManyField(Product, through="DeliveryLine", related_name="deliveries")
    expected_on = models.DateField(_("expected on"))
    received_at = models.DateTimeField(_("received at"), null=True, blank=True, editable=False)

    class Meta:
        ordering = ["-expected_on", "id"]
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")

    def __str__(self):
        return f"{self.supplier}, {self.expected_on}"


class DeliveryLine(models.Model):
    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="lines", verbose_name=_("delivery"))
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="+", verbose_name=_("product"))
    quantity = models.PositiveIntegerField(_("quantity"))

    class Meta:
        verbose_name = _("delivery line")
        verbose_name_plural = _("delivery lines")
        constraints = [models.UniqueConstraint(fields=["delivery", "product"], name="one_line_of_a_delivery")]

    def __str__(self):
        return f"{self.quantity} × {self.product}"


class Reservation(models.Model):
    class Status(models.TextChoices):
        HELD = "held", _("Held")
        TAKEN = "taken", _("Taken")
        RELEASED = "released", _("Released")

    order = models.ForeignKey(
        "orders.Order", on_delete=models.CASCADE, related_name="reservations", verbose_name=_("order")
    )
    level = models.ForeignKey(
        StockLevel, on_delete=models.PROTECT, related_name="reservations", verbose_name=_("stock level")
    )
    quantity = models.PositiveIntegerField(_("quantity"))
    status = models.CharField(_("status"), max_length=10, choices=Status.choices, default=Status.HELD)
    expires_at = models.DateTimeField(_("expires at"))

    class Meta:
        ordering = ["-id"]
        verbose_name = _("reservation")
        verbose_name_plural = _("reservations")
        constraints = [models.UniqueConstraint(fields=["order", "level"], name="one_reservation_of_a_level")]
        indexes = [models.Index(fields=["status", "expires_at"])]

    def __str__(self):
        return f"{self.quantity} × {self.level.product}"
