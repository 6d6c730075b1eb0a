from django.urls import path

from storefront import buying, keeping, paying

app_name = "storefront"

urlpatterns = [
    path("cart/", keeping.cart, name="cart"),
    path("cart/add/<slug:slug>/", keeping.add, name="add"),
    path("cart/change/<int:product_id>/", keeping.change, name="change"),
    path("checkout/", buying.checkout, name="checkout"),
    path("checkout/<uuid:number>/", paying.pay, name="pay"),
    path("orders/", buying.orders, name="orders"),
    path("orders/<uuid:number>/", buying.order, name="order"),
    path("orders/<uuid:number>/cancel/", buying.cancel, name="cancel"),
]
