from django.utils import timezone
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin, UpdateModelMixin
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet, ReadOnlyModelViewSet

from notifications.models import Channel, Kind, Notification, Preference
from shop.api import StableOrdering


class AboutSerializer(serializers.Serializer):
    type = serializers.SerializerMethodField(help_text="Such as orders.order")
    id = serializers.CharField(source="about_id")

    def get_type(self, notification) -> str:
        return f"{notification.about_type.app_label}.{notification.about_type.model}"


class NotificationSerializer(serializers.ModelSerializer):
    about = AboutSerializer(source="*")

    class Meta:
        model = Notification
        fields = ["id", "kind", "about", "data", "created_at", "read_at"]


class NotificationFilter(filters.FilterSet):
    unread = filters.BooleanFilter(field_name="read_at", lookup_expr="isnull")

    class Meta:
        model = Notification
        fields = ["kind"]


class NotificationViewSet(ReadOnlyModelViewSet):
    """What the account that asks is told."""

    queryset = Notification.objects.select_related("about_type")
    serializer_class = NotificationSerializer
    permission_classes = [IsAuthenticated]
    lookup_value_regex = "[0-9]+"
    filter_backends = [filters.DjangoFilterBackend, StableOrdering]
    filterset_class = NotificationFilter
    ordering_fields = ["created_at"]
    ordering = ["-created_at", "-id"]

    def get_queryset(self):
        return super().get_queryset().filter(recipient_id=self.request.user.pk)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def read(self, request, **kwargs):
        """Mark a notification as read; it keeps the moment when that was first done."""
        notification = self.get_object()
        if notification.read_at is None:
            notification.read_at = timezone.now()
            notification.save(update_fields=["read_at"])
        return Response(self.get_serializer(notification).data)


class PreferenceSerializer(serializers.ModelSerializer):
    kinds = serializers.ListField(child=serializers.ChoiceField(Kind.choices))

    class Meta:
        model = Preference
        fields = ["channel", "kinds"]
        read_only_fields = ["channel"]

    def validate_kinds(self, kinds):
        return sorted(set(kinds))


class PreferenceViewSet(ListModelMixin, UpdateModelMixin, GenericViewSet):
    """What the account that asks wants to hear of, by channel."""

    queryset = Preference.objects.order_by("channel")
    serializer_class = PreferenceSerializer
    permission_classes = [IsAuthenticated]
    pagination_class = None
    lookup_field = "channel"
    lookup_value_regex = "|".join(Channel.values)
    http_method_names = ["get", "put", "head", "options"]

    def get_queryset(self):
        return super().get_queryset().filter(user_id=self.request.user.pk)

    def list(self, request, *args, **kwargs):
        said = {preference.channel: preference for preference in self.get_queryset()}
        told = [said.get(channel) or self._default(channel) for channel in Channel]
        return Response(self.get_serializer(told, many=True).data)

    def get_object(self):
        channel = self.kwargs["channel"]
        return self.get_queryset().filter(channel=channel).first() or self._default(channel)

    def perform_update(self, serializer):
        changed, user = serializer.instance, self.request.user
        serializer.instance, _ = Preference.objects.update_or_create(
            user=user, channel=changed.channel, defaults=serializer.validated_data
        )

    def _default(self, channel):
        kinds = sorted(Preference.DEFAULTS[Channel(channel)])
        return Preference(user=self.request.user, channel=channel, kinds=kinds)
