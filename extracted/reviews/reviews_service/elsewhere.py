"""Addresses that the pages link to and somebody else answers: the templates go on naming them as they did."""

from django.http import Http404
from django.urls import include, path


def elsewhere(request, **captured):
    # Whoever asks here has come past the proxy.
    raise Http404


def _app(name, *routes):
    return include(([path(route, elsewhere, name=of) for route, of in routes], name))


urlpatterns = [
    path("", elsewhere, name="home"),
    path("bar/", elsewhere, name="bar"),
    path("products/", _app("catalog", ("", "products"), ("<slug:slug>/", "product"))),
    path("account/", _app("accounts", ("", "account"), ("login/", "login"))),
    path("", _app("storefront", ("cart/", "cart"))),
]
