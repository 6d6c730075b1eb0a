from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from django.db.models import Count, Max, Q
from django.utils.decorators import method_decorator
from django.utils.http import http_date
from django.views.decorators.http import conditional_page
from django_filters import rest_framework as filters
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.filters import SearchFilter
from rest_framework.response import Response
from rest_framework.viewsets import ReadOnlyModelViewSet

from catalog import recommend, tree
from catalog.models import Category, Product
from shop.api import StableOrdering, WithMoney

CENT = Decimal("0.01")
# No price has so many digits.
BEYOND = Decimal(10) ** 12
# As many as there may be before the point.
MOST_DECIMALS = 50


class CategoryInProduct(serializers.ModelSerializer):
    class Meta:
        model = Category
        fields = ["id", "slug", "name"]


class ProductSerializer(WithMoney, serializers.ModelSerializer):
    category = CategoryInProduct()
    image = serializers.CharField(source="image_path")

    class Meta:
        model = Product
        amounts = ["price"]
        currency = "currency"
        fields = [
            "id",
            "public_id",
            "sku",
            "slug",
            "name",
            "description",
            "category",
            "price",
            "currency",
            "attributes",
            "tags",
            "stock",
            "image",
            "rating",
            "review_count",
            "created_at",
            "updated_at",
        ]


class CategorySerializer(serializers.ModelSerializer):
    parent = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    product_count = serializers.IntegerField(read_only=True)

    class Meta:
        model = Category
        fields = ["id", "slug", "name", "parent", "position", "product_count"]


class ProductFilter(filters.FilterSet):
    category = filters.ModelChoiceFilter(
        queryset=Category.objects.all(),
        to_field_name="slug",
        method="in_branch",
        label="Slug of a category; what stands below it counts too",
    )
    min_price = filters.NumberFilter(field_name="price", method="from_price", decimal_places=MOST_DECIMALS)
    max_price = filters.NumberFilter(field_name="price", method="to_price", decimal_places=MOST_DECIMALS)
    in_stock = filters.BooleanFilter(field_name="stock", method="by_stock")
    slug = filters.CharFilter(label="The one product whose page has this name in its address")

    class Meta:
        model = Product
        fields = []

    def in_branch(self, queryset, name, category):
        return queryset.filter(category__in=tree.branch(category.id))

    def from_price(self, queryset, name, bound):
        return queryset.filter(price__gte=_in_cents(bound, ROUND_CEILING))

    def to_price(self, queryset, name, bound):
        return queryset.filter(price__lte=_in_cents(bound, ROUND_FLOOR))

    def by_stock(self, queryset, name, wanted):
        return queryset.filter(stock__gt=0) if wanted else queryset.filter(stock=0)


def _in_cents(bound, rounding):
    """Return what a bound means among prices; the database need not count 50 digits."""
    return max(-BEYOND, min(BEYOND, bound)).quantize(CENT, rounding)


@method_decorator(conditional_page, name="dispatch")
class CatalogViewSet(ReadOnlyModelViewSet):
    """Answer everyone alike: no session and no token is looked at, and what is unchanged answers 304."""

    authentication_classes = []
    permission_classes = []
    throttle_classes = []
    http_method_names = ["get", "head"]
    conditional = True

    def get_object(self):
        key = {self.lookup_field: self.kwargs[self.lookup_field]}
        try:
            found = self.get_queryset().filter(**key).first()
        except ValueError as exc:
            raise NotFound from exc
        if found is None:
            raise NotFound
        self.shown = found
        return found

    def finalize_response(self, request, response, *args, **kwargs):
        response = super().finalize_response(request, response, *args, **kwargs)
        if response.status_code == 200:
            response["Cache-Control"] = "no-cache"
            if changed := self.last_modified():
                response["Last-Modified"] = http_date(changed.timestamp())
        return response

    def last_modified(self):
        newest = [model.objects.aggregate(at=Max("updated_at"))["at"] for model in (Product, Category)]
        return max(filter(None, newest), default=None)


class ProductViewSet(CatalogViewSet):
    queryset = Product.objects.active().select_related("category")
    serializer_class = ProductSerializer
    lookup_value_regex = "[0-9]+"
    filter_backends = [filters.DjangoFilterBackend, SearchFilter, StableOrdering]
    filterset_class = ProductFilter
    search_fields = ["name", "description", "sku"]
    ordering_fields = ["name", "price", "created_at"]
    ordering = ["id"]

    def last_modified(self):
        if self.detail:
            return max(self.shown.updated_at, self.shown.category.updated_at)
        return super().last_modified()


class CategoryViewSet(CatalogViewSet):
    queryset = Category.objects.select_related("parent").annotate(
        product_count=Count("products", filter=Q(products__is_active=True))
    )
    serializer_class = CategorySerializer
    filter_backends = []
    lookup_field = "slug"
    lookup_value_regex = "[-a-zA-Z0-9_]+"

    def get_queryset(self):
        return super().get_queryset().order_by("position", "id")


class RecommendedSerializer(WithMoney, serializers.ModelSerializer):
    image = serializers.CharField(source="image_path")

    class Meta:
        model = Product
        fields = ["id", "slug", "name", "price", "currency", "image", "rating"]
        amounts = ["price"]
        currency = "currency"


class RecommendationsSerializer(serializers.Serializer):
    product = serializers.IntegerField(source="id")
    results = RecommendedSerializer(many=True)


class Recommendations(CatalogViewSet):
    """At most eight products like this one: from its branch of the catalog, with the same tags, at such a price."""

    queryset = Product.objects.active().select_related("category")
    serializer_class = RecommendationsSerializer

    def retrieve(self, request, *args, **kwargs):
        product = self.get_object()
        product.results = recommend.rank(product, self._candidates(product))
        return Response(self.get_serializer(product).data)

    def _candidates(self, product):
        # What the catalog answers to ?category=...&in_stock=true&ordering=-created_at&page_size=100
        beside = Product.objects.active().filter(category__in=tree.branch(product.category_id), stock__gt=0)
        return beside.order_by("-created_at", "id")[: recommend.CANDIDATES]

    def last_modified(self):
        return None
