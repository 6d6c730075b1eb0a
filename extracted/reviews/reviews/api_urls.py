from rest_framework.routers import SimpleRouter

from reviews.api import ReviewViewSet

router = SimpleRouter()
router.register("", ReviewViewSet, basename="api-review")

urlpatterns = router.urls
