from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class StorefrontConfig(AppConfig):
    """The pages on which a visitor buys; what they do stands in cart, orders and payments."""

    name = "storefront"
    verbose_name = _("Storefront")
