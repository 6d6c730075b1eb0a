import io
import json

import pytest
from django.core.management import call_command

SCHEMA = "/api/schema/"


def document(api, version):
    return api.get(SCHEMA, headers={"api-version": version}).json()


@pytest.mark.parametrize("version", ["1", "2"])
def test_everything_is_described_without_a_warning(version):
    written = io.StringIO()
    options = ["--fail-on-warn", "--validate", "--format", "openapi-json", "--api-version", version]
    call_command("spectacular", *options, stdout=written)
    assert json.loads(written.getvalue())["info"]["version"] == f"1.0.0 ({version})"


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


@pytest.mark.parametrize(
    ("path", "method", "statuses"),
    [
        ("/api/catalog/products/", "get", {"200", "304", "400", "404", "406"}),
        ("/api/catalog/products/{id}/", "get", {"200", "304", "404", "406"}),
        ("/api/account/me/", "patch", {"200", "400", "401", "403", "406", "429"}),
        ("/api/auth/token/", "post", {"200", "400", "401", "403", "406", "429"}),
    ],
)
def test_what_may_be_answered_is_described(api, db, path, method, statuses):
    assert set(document(api, "1")["paths"][path][method]["responses"]) == statuses
