from django.urls import path

from catalog import views

app_name = "catalog"

urlpatterns = [
    path("", views.products, name="products"),
    path("<slug:slug>/", views.product, name="product"),
]
