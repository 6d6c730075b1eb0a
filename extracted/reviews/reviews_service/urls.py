from django.conf.urls.i18n import i18n_patterns
from django.urls import include, path

handler404 = "reviews_service.refusals.not_found"
handler500 = "reviews_service.refusals.broken"

urlpatterns = [
    path("api/catalog/products/", include("reviews.product_api_urls")),
    path("api/reviews/", include("reviews.api_urls")),
    path("internal/", include("reviews_service.internal")),
]

urlpatterns += i18n_patterns(
    path("reviews/", include("reviews.urls")),
    path("", include("reviews_service.elsewhere")),
)
