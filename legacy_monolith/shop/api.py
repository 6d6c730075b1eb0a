"""What all of the shop's API views share."""

from rest_framework.filters import OrderingFilter
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.pagination import PageNumberPagination
from rest_framework.permissions import SAFE_METHODS
from rest_framework.throttling import AnonRateThrottle


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
