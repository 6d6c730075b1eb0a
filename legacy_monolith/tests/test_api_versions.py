import pytest

from tests import factories

PRODUCTS = "/api/catalog/products/"
SECOND = {"api-version": "2"}


@pytest.mark.parametrize("listed", [True, False])
def test_version_2_tells_an_amount_with_its_currency(api, listed):
    product = factories.product(price="12.9")
    url = PRODUCTS if listed else f"{PRODUCTS}{product.id}/"
    first, second = api.get(url), api.get(url, headers=SECOND)
    told = [answer.json()["results"][0] if listed else answer.json() for answer in (first, second)]
    assert told[1].pop("price") == {"amount": "12.90", "currency": "EUR"}
    assert (told[0].pop("price"), told[0].pop("currency")) == ("12.90", "EUR")
    assert list(told[0].items()) == list(told[1].items())
    assert first.headers["ETag"] != second.headers["ETag"]


def test_the_amount_keeps_its_place(api):
    product = factories.product()
    keys = list(api.get(f"{PRODUCTS}{product.id}/", headers=SECOND).json())
    assert keys[keys.index("category") : keys.index("attributes") + 1] == ["category", "price", "attributes"]


def test_who_names_no_version_speaks_the_first(api):
    product = factories.product()
    url = f"{PRODUCTS}{product.id}/"
    assert api.get(url).content == api.get(url, headers={"api-version": "1"}).content


@pytest.mark.parametrize("version", ["", "0", "3", "1.0", "v2", "1, 2", "\u0662"])
@pytest.mark.parametrize("url", [PRODUCTS, f"{PRODUCTS}0/", "/api/reviews/", "/api/account/me/", "/api/schema/"])
def test_any_other_version_is_refused(api, db, url, version):
    response = api.get(url, headers={"api-version": version})
    assert (response.status_code, response.json()) == (406, {"detail": 'Invalid version in "Api-Version" header.'})
    assert "Api-Version" in response.headers["Vary"]


@pytest.mark.parametrize(
    ("url", "status"), [(PRODUCTS, 200), (f"{PRODUCTS}0/", 404), ("/api/account/me/", 401), ("/api/schema/", 200)]
)
def test_caches_are_told_that_versions_differ(api, db, url, status):
    response = api.get(url)
    assert response.status_code == status
    assert "Api-Version" in response.headers["Vary"].split(", ")


def test_what_is_no_view_of_the_api_knows_no_version(api, db):
    response = api.get("/api/nowhere/", headers={"api-version": "9"})
    assert (response.status_code, response.headers.get("Vary")) == (404, None)
