from django.db.models import Max
from django.utils.decorators import method_decorator
from django.utils.http import http_date
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import conditional_page
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound, PermissionDenied
from rest_framework.generics import get_object_or_404
from rest_framework.permissions import SAFE_METHODS, IsAuthenticated, IsAuthenticatedOrReadOnly
from rest_framework.response import Response
from rest_framework.viewsets import ModelViewSet

from catalog.models import Product
from reviews.models import (
    ALREADY_REVIEWED,
    MOST_PHOTOS,
    NOT_ONES_OWN,
    TOO_MANY_PHOTOS,
    AlreadyReviewed,
    Photo,
    Review,
    TooManyPhotos,
    Vote,
    one_each,
)
from reviews.pictures import Refused, drawn_anew
from shop.api import StableOrdering


class PhotoSerializer(serializers.ModelSerializer):
    image = serializers.CharField(source="image.url", read_only=True)

    class Meta:
        model = Photo
        fields = ["id", "image", "width", "height"]


class PictureField(serializers.FileField):
    def to_internal_value(self, data):
        try:
            return drawn_anew(super().to_internal_value(data))
        except Refused as exc:
            raise serializers.ValidationError(exc.args[0]) from exc


class NewPhotoSerializer(serializers.Serializer):
    image = PictureField()


class VoteSerializer(serializers.ModelSerializer):
    class Meta:
        model = Vote
        fields = ["helpful"]


class ReviewSerializer(serializers.ModelSerializer):
    product = serializers.PrimaryKeyRelatedField(queryset=Product.objects.active())
    author = serializers.SlugRelatedField(slug_field="username", read_only=True)
    photos = PhotoSerializer(many=True, read_only=True)
    helpful = serializers.IntegerField(source="helpful_count", read_only=True)
    images = serializers.ListField(
        child=PictureField(),
        max_length=MOST_PHOTOS,
        error_messages={"max_length": TOO_MANY_PHOTOS},
        required=False,
        write_only=True,
        help_text="The photos of a review that is written; those of one that exists are sent to its photos/.",
    )

    class Meta:
        model = Review
        fields = ["id", "product", "author", "rating", "title", "body", "photos", "helpful", "created_at", "images"]

    def validate_images(self, images):
        if self.instance:
            raise serializers.ValidationError(_("Further photos are sent to photos/."))
        return images

    def create(self, validated_data):
        images = validated_data.pop("images", [])
        review = super().create(validated_data)
        review.add_photos(images)
        return review


class ReviewOfProductSerializer(ReviewSerializer):
    product = serializers.PrimaryKeyRelatedField(read_only=True)


class ReviewOfProductFilter(filters.FilterSet):
    author = filters.CharFilter(field_name="author__username")

    class Meta:
        model = Review
        fields = ["rating"]


class ReviewFilter(ReviewOfProductFilter):
    product = filters.NumberFilter(field_name="product_id")


class AuthorMayChange(IsAuthenticatedOrReadOnly):
    def has_object_permission(self, request, view, obj):
        return request.method in SAFE_METHODS or obj.author_id == request.user.id or request.user.is_staff


@method_decorator(conditional_page, name="dispatch")
class ReviewViewSet(ModelViewSet):
    """Reviews that customers wrote; whoever is logged in may write one for each product."""

    queryset = Review.objects.on_the_shelf().in_full()
    serializer_class = ReviewSerializer
    permission_classes = [AuthorMayChange]
    lookup_value_regex = "[0-9]+"
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]
    filter_backends = [filters.DjangoFilterBackend, StableOrdering]
    filterset_class = ReviewFilter
    ordering_fields = ["created_at", "rating"]
    ordering = ["-created_at", "id"]
    conditional = True

    def get_object(self):
        self.shown = super().get_object()
        return self.shown

    def finalize_response(self, request, response, *args, **kwargs):
        response = super().finalize_response(request, response, *args, **kwargs)
        if request.method in ("GET", "HEAD") and response.status_code == 200:
            response["Cache-Control"] = "no-cache"
            if changed := self.last_modified():
                response["Last-Modified"] = http_date(changed.timestamp())
        return response

    def last_modified(self):
        # A list also changes when a product is taken off the shelf, which no review knows of: it has its ETag only.
        return self.shown.updated_at if self.detail else None

    def perform_create(self, serializer):
        try:
            with one_each():
                review = serializer.save(author=self.request.user, **self.always())
        except AlreadyReviewed as exc:
            raise serializers.ValidationError({"non_field_errors": [ALREADY_REVIEWED]}) from exc
        serializer.instance = Review.objects.in_full().get(id=review.id)

    def always(self):
        """Return what a review that is written here has, whatever was sent."""
        return {}

    def perform_update(self, serializer):
        if serializer.validated_data.get("product", serializer.instance.product) != serializer.instance.product:
            raise serializers.ValidationError({"product": [_("A review stays with its product.")]})
        serializer.save()

    def perform_destroy(self, instance):
        instance.withdraw()

    @extend_schema(request={"multipart/form-data": NewPhotoSerializer}, responses={201: PhotoSerializer})
    @action(detail=True, methods=["post"], serializer_class=NewPhotoSerializer)
    def photos(self, request, pk):
        """Add a photo to one's review."""
        review = self.get_object()
        sent = self.get_serializer(data=request.data)
        sent.is_valid(raise_exception=True)
        try:
            [photo] = review.add_photos([sent.validated_data["image"]])
        except TooManyPhotos as exc:
            raise serializers.ValidationError({"image": [TOO_MANY_PHOTOS]}) from exc
        return Response(PhotoSerializer(photo).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=VoteSerializer, responses={200: ReviewSerializer})
    @action(detail=True, methods=["post"], serializer_class=VoteSerializer, permission_classes=[IsAuthenticated])
    def vote(self, request, pk):
        """Say whether somebody else's review helped; whoever says it again changes what was said."""
        review = self.get_object()
        if review.author_id == request.user.id:
            raise PermissionDenied(NOT_ONES_OWN)
        sent = self.get_serializer(data=request.data)
        sent.is_valid(raise_exception=True)
        review.vote(request.user, sent.validated_data["helpful"])
        return Response(ReviewSerializer(self.get_object()).data)

    @extend_schema(responses={204: None})
    @vote.mapping.delete
    def take_back_vote(self, request, pk):
        """Take back what one said."""
        if not self.get_object().take_back_vote(request.user):
            raise NotFound
        return Response(status=status.HTTP_204_NO_CONTENT)


class ReviewOfProductViewSet(ReviewViewSet):
    """The reviews of one product."""

    serializer_class = ReviewOfProductSerializer
    filterset_class = ReviewOfProductFilter
    http_method_names = ["get", "post", "head", "options"]

    def initial(self, request, *args, **kwargs):
        super().initial(request, *args, **kwargs)
        self.product = get_object_or_404(Product.objects.active(), id=self.kwargs["product_id"])

    def get_queryset(self):
        if not hasattr(self, "product"):  # while the API is described
            return super().get_queryset()
        return super().get_queryset().filter(product=self.product)

    def last_modified(self):
        return Review.with_deleted.filter(product=self.product).aggregate(at=Max("updated_at"))["at"]

    def always(self):
        return {"product": self.product}
