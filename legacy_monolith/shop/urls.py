from django.apps import apps
from django.conf import settings
from django.conf.urls.i18n import i18n_patterns
from django.contrib import admin
from django.urls import include, path, re_path
from django.views.static import serve
from drf_spectacular.views import SpectacularJSONAPIView

from accounts.api import Me, Token
from catalog.api import Recommendations
from catalog.views import placeholder
from shop.views import bar, home

handler404 = "shop.views.not_found"
handler500 = "shop.views.broken"

urlpatterns = [
    path("api/catalog/products/", include("reviews.product_api_urls")),
    path("api/catalog/", include("catalog.api_urls")),
    re_path("^api/recommendations/(?P<pk>[0-9]+)/$", Recommendations.as_view({"get": "retrieve"})),
    path("api/reviews/", include("reviews.api_urls")),
    path("api/reports/", include("reporting.api_urls")),
    path("api/notifications/", include("notifications.api_urls")),
    path("api/cart/", include("cart.api_urls")),
    path("api/orders/", include("orders.api_urls")),
    path("api/inventory/", include("inventory.api_urls")),
    path("api/account/me/", Me.as_view(), name="api-me"),
    path("api/auth/token/", Token.as_view(), name="api-token"),
    path("api/schema/", SpectacularJSONAPIView.as_view(), name="api-schema"),
    path("admin/", admin.site.urls),
    path("images/<slug:sku>.svg", placeholder, name="placeholder"),
    re_path(r"^media/(?P<path>.+)$", serve, {"document_root": settings.MEDIA_ROOT}),
]

if apps.is_installed("strangler_django"):
    urlpatterns.append(path(".strangler/", include("strangler_django.urls")))

urlpatterns += i18n_patterns(
    path("", home, name="home"),
    path("bar/", bar, name="bar"),
    path("products/", include("catalog.urls")),
    path("reviews/", include("reviews.urls")),
    path("account/", include("accounts.urls")),
    path("", include("storefront.urls")),
)
