from django.db import IntegrityError, transaction
from django.utils.translation import gettext_lazy as _
from django_filters import rest_framework as filters
from rest_framework import serializers
from rest_framework.permissions import SAFE_METHODS, IsAuthenticatedOrReadOnly
from rest_framework.viewsets import ModelViewSet

from catalog.models import Product
from reviews.models import Review
from shop.api import StableOrdering

ALREADY_REVIEWED = _("You have already reviewed this product.")


class ReviewSerializer(serializers.ModelSerializer):
    product = serializers.PrimaryKeyRelatedField(queryset=Product.objects.active())
    author = serializers.SlugRelatedField(slug_field="username", read_only=True)

    class Meta:
        model = Review
        fields = ["id", "product", "author", "rating", "title", "body", "created_at"]


class ReviewFilter(filters.FilterSet):
    product = filters.NumberFilter(field_name="product_id")
    author = filters.CharFilter(field_name="author__username")

    class Meta:
        model = Review
        fields = ["rating"]


class AuthorMayChange(IsAuthenticatedOrReadOnly):
    def has_object_permission(self, request, view, obj):
        return request.method in SAFE_METHODS or obj.author_id == request.user.id or request.user.is_staff


class ReviewViewSet(ModelViewSet):
    """Reviews that customers wrote; whoever is logged in may write one for each product."""

    queryset = Review.objects.published().filter(product__is_active=True).select_related("author")
    serializer_class = ReviewSerializer
    permission_classes = [AuthorMayChange]
    lookup_value_regex = "[0-9]+"
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]
    filter_backends = [filters.DjangoFilterBackend, StableOrdering]
    filterset_class = ReviewFilter
    ordering_fields = ["created_at", "rating"]
    ordering = ["-created_at", "id"]

    def perform_create(self, serializer):
        try:
            with transaction.atomic():
                serializer.save(author=self.request.user)
        except IntegrityError as exc:
            raise serializers.ValidationError({"non_field_errors": [ALREADY_REVIEWED]}) from exc

    def perform_update(self, serializer):
        if serializer.validated_data.get("product", serializer.instance.product) != serializer.instance.product:
            raise serializers.ValidationError({"product": [_("A review stays with its product.")]})
        serializer.save()
