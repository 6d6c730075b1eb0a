from rest_framework.routers import SimpleRouter

from orders.api import OrderViewSet

router = SimpleRouter()
router.register("", OrderViewSet, basename="api-order")

urlpatterns = router.urls
