"""What a report is asked for, in a URL or in a saved report."""

from dataclasses import dataclass
from datetime import date, timedelta

from django.apps import apps
from django.db.models import Max
from django.utils import timezone
from rest_framework import serializers

from catalog import tree
from catalog.models import Category

DAYS = 30


def yesterday():
    return timezone.now().date() - timedelta(days=1)


def last_closed():
    closed = apps.get_model("reporting", "DailySales").objects.aggregate(last=Max("day"))
    return closed["last"] or yesterday()


class AskedSerializer(serializers.Serializer):
    by = serializers.ChoiceField(["day", "category"], default="day", help_text="What has a row of its own")
    since = serializers.DateField(required=False, help_text="First day; 30 days before the last one if absent")
    until = serializers.DateField(required=False, help_text="Last day; the last one that is closed if absent")
    category = serializers.SlugRelatedField(
        slug_field="slug", queryset=Category.objects.all(), required=False, help_text="With all that stands below it"
    )

    def validate(self, asked):
        asked["until"] = asked.get("until") or last_closed()
        asked.setdefault("since", asked["until"] - timedelta(days=DAYS - 1))
        if asked["since"] > asked["until"]:
            raise serializers.ValidationError({"since": ["The first day comes after the last one."]})
        return asked


@dataclass(frozen=True, kw_only=True)
class Asked:
    by: str
    since: date
    until: date
    category: Category | None = None

    @classmethod
    def read(cls, query):
        """Return what `query` asks for; raises ValidationError."""
        serializer = AskedSerializer(data=query)
        serializer.is_valid(raise_exception=True)
        return cls(**serializer.validated_data)

    @staticmethod
    def problems(query):
        serializer = AskedSerializer(data=query)
        return {} if serializer.is_valid() else dict(serializer.errors)

    @property
    def days(self):
        return (self.until - self.since).days + 1

    def parameters(self):
        branch = tree.branch(self.category.id) if self.category else None
        return {"since": self.since, "until": self.until, "branch": branch}
