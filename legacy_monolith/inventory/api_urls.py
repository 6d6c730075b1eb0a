from rest_framework.routers import SimpleRouter

from inventory.api import StockViewSet

router = SimpleRouter()
router.register("stock", StockViewSet, basename="api-stock")

urlpatterns = router.urls
