"""What all of the shop's API views share."""

from rest_framework import serializers
from rest_framework.exceptions import NotAcceptable
from rest_framework.filters import OrderingFilter
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.pagination import PageNumberPagination
from rest_framework.permissions import SAFE_METHODS
from rest_framework.throttling import AnonRateThrottle, UserRateThrottle
from rest_framework.versioning import BaseVersioning


class HeaderVersioning(BaseVersioning):
    """Read the version that a client speaks from a header; whoever names none speaks the first."""

    header = "Api-Version"
    default_version = "1"
    allowed_versions = ("1", "2")

    def determine_version(self, request, *args, **kwargs):
        _vary(request.parser_context["view"], self.header)
        version = request.headers.get(self.header, self.default_version)
        if version not in self.allowed_versions:
            raise NotAcceptable(f'Invalid version in "{self.header}" header.')
        return version


def _vary(view, header):
    # A view's own headers are put on its refusals, too.
    view.headers["Vary"] = ", ".join(filter(None, [view.headers.get("Vary"), header]))


class AlwaysJson(DefaultContentNegotiation):
    """Answer in the view's own format whatever Accept says, so that an answer depends on its URL alone."""

    def select_renderer(self, request, renderers, format_suffix=None):
        return renderers[0], renderers[0].media_type


class Pages(PageNumberPagination):
    page_size = 20
    page_size_query_param = "page_size"
    max_page_size = 100


class StableOrdering(OrderingFilter):
    """Order as asked and by id among equals, so that no row shows on two pages."""

    def get_ordering(self, request, queryset, view):
        ordering = list(super().get_ordering(request, queryset, view) or [])
        if not {"id", "-id"} & set(ordering):
            ordering.append("id")
        return ordering


class AnonymousWrites(AnonRateThrottle):
    scope = "anonymous_writes"

    def allow_request(self, request, view):
        return request.method in SAFE_METHODS or super().allow_request(request, view)


class UserWrites(UserRateThrottle):
    scope = "user_writes"

    def allow_request(self, request, view):
        anonymous = not (request.user and request.user.is_authenticated)
        return anonymous or request.method in SAFE_METHODS or super().allow_request(request, view)


class Money(serializers.Serializer):
    """An amount and its currency, both taken from the row that holds them."""

    amount = serializers.DecimalField(max_digits=12, decimal_places=2)
    currency = serializers.CharField()

    def __init__(self, *, amount, currency):
        super().__init__(source="*", read_only=True)
        self._sources = {"amount": amount, "currency": currency}

    def get_fields(self):
        fields = super().get_fields()
        for name, source in self._sources.items():
            fields[name].source = source if source != name else None
        return fields


class WithMoney(serializers.Serializer):
    """From version 2 on, each of `Meta.amounts` is told with its currency, which no longer stands beside them.

    `Meta.currency` is where the row's currency is found, such as "currency" or "order.currency".
    """

    def get_fields(self):
        fields = super().get_fields()
        if spoken(self.context) == "1":
            return fields
        told = {
            name: Money(amount=name, currency=self.Meta.currency) if name in self.Meta.amounts else field
            for name, field in fields.items()
        }
        told.pop("currency", None)
        return told


def spoken(context):
    """Return the version that the client of a serializer's `context` speaks."""
    request = context.get("request")
    return getattr(request, "version", None) or HeaderVersioning.default_version
