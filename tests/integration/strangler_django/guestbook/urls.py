from __future__ import annotations

from django.urls import include, path

urlpatterns = [path(".strangler/", include("strangler_django.urls"))]
