from django.urls import path, re_path

from cart.api import CartItems, CartItemView, CartView

urlpatterns = [
    path("", CartView.as_view(), name="api-cart"),
    path("items/", CartItems.as_view(), name="api-cart-items"),
    re_path("^items/(?P<product>[0-9]{1,18})/$", CartItemView.as_view(), name="api-cart-item"),
]
