from rest_framework.routers import SimpleRouter

from catalog.api import CategoryViewSet, ProductViewSet

router = SimpleRouter()
router.register("products", ProductViewSet, basename="api-product")
router.register("categories", CategoryViewSet, basename="api-category")

urlpatterns = router.urls
