import io
import json

import pytest
from django.core.management import call_command
from django.urls import URLResolver, get_resolver
from rest_framework.views import APIView

SCHEMA = "/api/schema/"


def document(api, version):
    return api.get(SCHEMA, headers={"api-version": version}).json()


@pytest.mark.parametrize("version", ["1", "2"])
def test_everything_is_described_without_a_warning(version):
    written = io.StringIO()
    options = ["--fail-on-warn", "--validate", "--format", "openapi-json", "--api-version", version]
    call_command("spectacular", *options, stdout=written)
    assert json.loads(written.getvalue())["info"]["version"] == f"1.0.0 ({version})"


def test_everything_under_api_is_a_view_that_can_be_described():
    under = [view for route, view in _routes(get_resolver()) if route.startswith("api/")]
    assert len(under) > 8
    assert [view for view in under if not issubclass(getattr(view, "cls", object), APIView)] == []


def _routes(resolver, prefix=""):
    for pattern in resolver.url_patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _routes(pattern, route)
        else:
            yield route, pattern.callback


def test_each_version_is_described_as_it_answers(api, db):
    first, second = (document(api, version)["components"]["schemas"] for version in "12")
    assert "Money" not in first
    assert first["Product"]["properties"]["price"]["format"] == "decimal"
    assert "Money" in str(second["Product"]["properties"]["price"])
    assert "currency" not in second["Product"]["properties"]


def test_every_operation_names_its_versions_and_its_refusals(api, db):
    operations = [each for path in document(api, "1")["paths"].values() for each in path.values()]
    assert len(operations) > 10
    for operation in operations:
        assert "Api-Version" in {parameter["name"] for parameter in operation["parameters"]}
        assert "406" in operation["responses"]
        bare = [status for status, said in operation["responses"].items() if status >= "400" and "content" not in said]
        assert bare == []


@pytest.mark.parametrize(
    ("path", "method", "statuses"),
    [
        ("/api/catalog/products/", "get", {"200", "304", "400", "404", "406"}),
        ("/api/catalog/products/{id}/", "get", {"200", "304", "404", "406"}),
        ("/api/account/me/", "patch", {"200", "400", "401", "403", "406", "429"}),
        ("/api/orders/{number}/pay/", "post", {"200", "400", "401", "402", "403", "404", "406", "429", "503"}),
        ("/api/reports/sales/", "get", {"200", "400", "401", "403", "404", "406"}),
        ("/api/auth/token/", "post", {"200", "400", "401", "403", "406", "429"}),
    ],
)
def test_what_may_be_answered_is_described(api, db, path, method, statuses):
    assert set(document(api, "1")["paths"][path][method]["responses"]) == statuses
