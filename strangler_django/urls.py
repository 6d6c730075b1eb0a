"""For ``path(".strangler/", include("strangler_django.urls"))``."""

from django.urls import path

from strangler_django.views import identity

urlpatterns = [path("identity/", identity, name="strangler-identity")]
