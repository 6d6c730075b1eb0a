from django.urls import path
from rest_framework.routers import SimpleRouter

from reporting.api import Bestsellers, Sales, SavedReportViewSet

router = SimpleRouter()
router.register("saved", SavedReportViewSet, basename="api-report")

urlpatterns = [
    path("sales/", Sales.as_view(), name="api-sales"),
    path("bestsellers/", Bestsellers.as_view(), name="api-bestsellers"),
    *router.urls,
]
