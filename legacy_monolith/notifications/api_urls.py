from rest_framework.routers import SimpleRouter

from notifications.api import NotificationViewSet, PreferenceViewSet

router = SimpleRouter()
router.register("preferences", PreferenceViewSet, basename="api-preference")
router.register("", NotificationViewSet, basename="api-notification")

urlpatterns = router.urls
