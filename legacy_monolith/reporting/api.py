import csv

from django.db.models import Q
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotAcceptable, ValidationError
from rest_framework.generics import get_object_or_404
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.permissions import SAFE_METHODS, IsAdminUser
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ModelViewSet

from reporting.asked import Asked, AskedSerializer
from reporting.bestsellers import bestsellers
from reporting.models import SavedReport, check_query
from reporting.sales import report, stream

# JSON is held whole; whoever wants more takes CSV.
MOST_DAYS = 366


class Csv(BaseRenderer):
    """Only to be named: rows are streamed and never rendered."""

    media_type = "text/csv"
    format = "csv"


class JsonUnlessCsv(DefaultContentNegotiation):
    """Answer in CSV to ?format=csv or to whoever prefers text/csv, in JSON to everybody else."""

    def select_renderer(self, request, renderers, format_suffix=None):
        asked = request.query_params.get("format")
        for renderer in renderers:
            if renderer.format == asked:
                return renderer, renderer.media_type
        try:
            return super().select_renderer(request, renderers, format_suffix)
        except NotAcceptable:
            return renderers[0], renderers[0].media_type


class SalesQuerySerializer(AskedSerializer):
    saved = serializers.IntegerField(required=False, help_text="A saved report, to which the other parameters add")
    format = serializers.ChoiceField(["json", "csv"], required=False)


class SalesRowSerializer(serializers.Serializer):
    """A row by day, or one by category."""

    day = serializers.DateField()
    category = serializers.CharField(required=False)
    orders = serializers.IntegerField(required=False)
    units = serializers.IntegerField()
    revenue = serializers.DecimalField(max_digits=14, decimal_places=2)
    place = serializers.IntegerField(required=False)
    percent = serializers.DecimalField(max_digits=4, decimal_places=1, required=False, allow_null=True)
    week_average = serializers.DecimalField(max_digits=14, decimal_places=2, required=False)
    so_far = serializers.DecimalField(max_digits=16, decimal_places=2, required=False)

    def to_representation(self, row):
        return {name: told for name, told in super().to_representation(row).items() if name in row}


class SalesSerializer(serializers.Serializer):
    by = serializers.CharField()
    since = serializers.DateField()
    until = serializers.DateField()
    results = SalesRowSerializer(many=True)


class Sales(APIView):
    """What was sold on the days that are closed."""

    permission_classes = [IsAdminUser]
    renderer_classes = [JSONRenderer, Csv]
    content_negotiation_class = JsonUnlessCsv

    @extend_schema(
        parameters=[SalesQuerySerializer],
        responses={(200, "application/json"): SalesSerializer, (200, "text/csv"): OpenApiTypes.STR, 404: None},
    )
    def get(self, request):
        asked = Asked.read(self._query(request))
        if isinstance(request.accepted_renderer, Csv):
            return _csv(asked)
        if asked.days > MOST_DAYS:
            raise ValidationError({"since": [f"At most {MOST_DAYS} days are answered as JSON; ask for CSV."]})
        answer = {"by": asked.by, "since": asked.since, "until": asked.until, "results": report(asked)}
        return Response(SalesSerializer(answer).data)

    def handle_exception(self, exc):
        # A refusal is no table.
        self.request.accepted_renderer, self.request.accepted_media_type = JSONRenderer(), JSONRenderer.media_type
        return super().handle_exception(exc)

    def _query(self, request):
        asked = request.query_params.dict()
        if "saved" not in asked:
            return asked
        key = serializers.IntegerField(min_value=1).run_validation(asked["saved"])
        return get_object_or_404(_seen_by(request.user), pk=key).query | asked


class _Line:
    """A file that hands back what is written to it."""

    def write(self, line):
        return line


def _csv(asked):
    rows = csv.writer(_Line())
    response = StreamingHttpResponse(map(rows.writerow, stream(asked)), content_type="text/csv; charset=utf-8")
    name = f"sales-{asked.since}-{asked.until}.csv"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


class BestsellerSerializer(serializers.Serializer):
    id = serializers.IntegerField()
    slug = serializers.CharField()
    name = serializers.CharField()
    units = serializers.IntegerField()
    revenue = serializers.DecimalField(max_digits=14, decimal_places=2)


class BestsellersSerializer(serializers.Serializer):
    results = BestsellerSerializer(many=True)


class Bestsellers(APIView):
    """What sold best in the last 30 days."""

    permission_classes = [IsAdminUser]

    @extend_schema(responses=BestsellersSerializer)
    def get(self, request):
        return Response(BestsellersSerializer({"results": bestsellers()}).data)


class SavedReportSerializer(serializers.ModelSerializer):
    owner = serializers.SlugRelatedField(slug_field="username", read_only=True)
    query = serializers.DictField(validators=[check_query], default=dict)

    class Meta:
        model = SavedReport
        fields = ["id", "name", "owner", "query", "is_shared", "created_at"]

    def validate_name(self, name):
        owned = self.context["request"].user.reports.filter(name=name).exclude(pk=self.instance and self.instance.pk)
        if owned.exists():
            raise serializers.ValidationError("You have a report of that name.")
        return name


class OwnerMayChange(IsAdminUser):
    def has_object_permission(self, request, view, obj):
        return request.method in SAFE_METHODS or obj.owner_id == request.user.id


class SavedReportViewSet(ModelViewSet):
    """One's own saved reports, and those that others share."""

    queryset = SavedReport.objects.select_related("owner").order_by("name", "id")
    serializer_class = SavedReportSerializer
    permission_classes = [OwnerMayChange]
    lookup_value_regex = "[0-9]+"
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]

    def get_queryset(self):
        return _seen_by(self.request.user)

    def perform_create(self, serializer):
        serializer.save(owner=self.request.user)


def _seen_by(user):
    reports = SavedReport.objects.select_related("owner").order_by("name", "id")
    return reports.filter(Q(owner_id=user.pk) | Q(is_shared=True))
