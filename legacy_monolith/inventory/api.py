from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin
from rest_framework.parsers import MultiPartParser
from rest_framework.permissions import IsAdminUser
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from inventory import imports
from inventory.models import StockLevel
from shop.api import StableOrdering


class StockSerializer(serializers.ModelSerializer):
    sku = serializers.CharField(source="product.sku")
    warehouse = serializers.CharField(source="warehouse.code")
    free = serializers.IntegerField()

    class Meta:
        model = StockLevel
        fields = ["id", "product", "sku", "warehouse", "on_hand", "reserved", "free"]


class StockFilter(filters.FilterSet):
    warehouse = filters.CharFilter(field_name="warehouse__code")
    sku = filters.CharFilter(field_name="product__sku")
    below = filters.NumberFilter(field_name="on_hand", lookup_expr="lt", label="Fewer on hand than this")

    class Meta:
        model = StockLevel
        fields = ["product"]


class Counted(serializers.Serializer):
    file = serializers.FileField(help_text="CSV in UTF-8 with the columns sku, warehouse, on_hand; at most 1 MiB")

    def validate_file(self, file):
        if file.size > imports.MOST_BYTES:
            raise serializers.ValidationError("At most 1 MiB.")
        return file


class StockViewSet(ListModelMixin, GenericViewSet):
    """What lies where; for staff."""

    queryset = StockLevel.objects.select_related("product", "warehouse")
    serializer_class = StockSerializer
    permission_classes = [IsAdminUser]
    filter_backends = [filters.DjangoFilterBackend, StableOrdering]
    filterset_class = StockFilter
    ordering_fields = ["on_hand", "reserved"]
    ordering = ["id"]

    @extend_schema(request=Counted, responses=inline_serializer("Imported", {"rows": serializers.IntegerField()}))
    @action(detail=False, methods=["post"], url_path="import", parser_classes=[MultiPartParser])
    def take(self, request):
        """Book counted stock out of a CSV file: all of it, or none and every row that is wrong."""
        asked = Counted(data=request.data)
        asked.is_valid(raise_exception=True)
        try:
            return Response({"rows": imports.take(asked.validated_data["file"].read())})
        except imports.RowsWrong as error:
            rows = [{"line": line, "problem": problem} for line, problem in error.rows]
            raise serializers.ValidationError({"rows": rows}) from error
