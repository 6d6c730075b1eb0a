from django.urls import re_path

from reviews.api import ReviewOfProductViewSet

urlpatterns = [
    re_path(
        r"^(?P<product_id>[0-9]+)/reviews/$",
        ReviewOfProductViewSet.as_view({"get": "list", "post": "create"}),
        name="api-product-reviews",
    ),
]
