from xml.etree import ElementTree

import pytest
from django.test import Client

from accounts.models import User
from inventory.models import StockLevel
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann():
    return factories.user(username="ann", password="secret-enough")


@pytest.fixture
def cup():
    kitchen = factories.category(name="Kitchen", slug="kitchen")
    mugs = factories.category(name="Mugs", slug="mugs", parent=kitchen)
    return factories.product(name="Grüne Tasse", slug="cup", category=mugs, stock=4, attributes={"weight_kg": 0.3})


def page(response, status=200):
    assert response.status_code == status
    return response.content.decode()


def test_the_front_door_leads_to_the_visitors_language(client):
    assert client.get("/", headers={"accept-language": "de-AT"}).headers["Location"] == "/de/"
    assert client.get("/").headers["Location"] == "/en/"


@pytest.mark.parametrize(("language", "text"), [("en", "Things that last."), ("de", "Dinge, die bleiben.")])
def test_the_home_page_speaks_the_language_in_its_address(client, cup, language, text):
    response = client.get(f"/{language}/", headers={"accept-language": "fr"})
    assert text in page(response)
    assert "Grüne Tasse" in page(response)
    assert f'<html lang="{language}">' in page(response)
    assert response.headers["Content-Language"] == language


def test_an_empty_shop_has_a_home_page(client):
    assert "still empty" in page(client.get("/en/"))


def test_loved_products_are_on_the_home_page(client, cup):
    for _ in range(3):
        factories.review(product=cup, rating=5)
    assert "Loved by customers" in page(client.get("/en/"))


def test_the_language_switch_keeps_the_page(client, cup):
    assert 'href="/de/products/?q=tasse"' in page(client.get("/en/products/?q=tasse"))


def test_products_are_searched_by_name_category_and_order(client, cup):
    factories.product(name="Spade")
    for query in ["q=GRÜNE", "category=kitchen", f"q={cup.sku}", "category=mugs&sort=price&page=99"]:
        found = page(client.get(f"/en/products/?{query}"))
        assert "Grüne Tasse" in found
        assert "Spade" not in found
    assert "2 Produkte" in page(client.get("/de/products/?category=nowhere&sort=nonsense&page=x"))
    assert "Nothing fits" in page(client.get("/en/products/?q=zzz"))


def test_the_list_of_products_has_pages_that_keep_the_search(client):
    category = factories.category()
    for number in range(30):
        factories.product(name=f"Bowl {number:02}", category=category)
    first = page(client.get("/en/products/?q=bowl&sort=name"))
    assert 'href="?q=bowl&amp;sort=name&amp;page=2"' in first
    assert "Bowl 00" in first
    assert "Bowl 29" not in first
    assert "Bowl 29" in page(client.get("/en/products/?q=bowl&sort=name&page=2"))


def test_a_list_page_takes_few_queries(client, cup, django_assert_max_num_queries):
    for _ in range(10):
        factories.product()
    with django_assert_max_num_queries(4):
        client.get("/en/products/")


def test_a_product_page_shows_the_product(client, cup):
    shown = page(client.get("/de/products/cup/"))
    for text in [
        "Grüne Tasse",
        "9,90&nbsp;EUR",
        "4 auf Lager",
        "Weight kg",
        "/de/reviews/of/cup/?part=1",
        "/de/cart/add/cup/",
    ]:
        assert text in shown


@pytest.mark.parametrize(
    ("attributes", "shown"),
    [
        ({"items": 6}, "<dt>Items</dt><dd>6</dd>"),
        ({"lid": False, "dishwasher_safe": True}, "<dt>Lid</dt><dd>no</dd><dt>Dishwasher safe</dt><dd>yes</dd>"),
        ([], "</dd>\n      \n    </dl>"),
    ],
)
def test_facts_are_shown_whatever_they_are_called(client, cup, attributes, shown):
    cup.attributes = attributes
    cup.save()
    assert shown in page(client.get("/en/products/cup/"))


@pytest.mark.parametrize("path", ["/en/products/", "/en/products/cup/", "/en/products/?q=cup&page=2"])
def test_pages_of_the_catalog_are_the_same_for_everybody(client, ann, cup, path):
    anonymous = client.get(path)
    client.force_login(ann)
    known = client.get(path)
    assert known.content == anonymous.content
    assert not known.cookies
    assert "Cookie" not in known.headers.get("Vary", "")
    assert known.headers["Cache-Control"] == "public, max-age=0, must-revalidate"
    assert client.get(path, headers={"If-None-Match": known.headers["ETag"]}).status_code == 304
    refused = client.post(path)
    assert (refused.status_code, refused.headers["Allow"]) == (405, "GET, HEAD")


def test_the_bar_is_the_visitor_s_own(client, ann, cup):
    StockLevel.objects.create(product=cup, warehouse=factories.warehouse(), on_hand=9)
    anonymous = client.get("/en/bar/")
    assert "Log in" in page(anonymous)
    assert ("csrftoken" in anonymous.cookies, "no-store" in anonymous.headers["Cache-Control"]) == (True, True)
    client.force_login(ann)
    client.post("/de/cart/add/cup/", {"quantity": 3})
    known = page(client.get("/de/bar/"))
    for text in ["Abmelden", "ann", '<span class="badge">3</span>', "liegt im Warenkorb"]:
        assert text in known
    assert "liegt im Warenkorb" not in page(client.get("/de/bar/"))


@pytest.mark.parametrize("path", ["/en/products/nothing/", "/en/nowhere/", "/fr/", "/media/nothing.jpg"])
def test_what_is_not_there_is_a_page_too(client, path):
    assert "There is nothing at this address." in page(client.get(path), 404)


def test_a_product_off_the_shelf_has_no_page(client, cup):
    cup.is_active = False
    cup.save()
    assert client.get("/en/products/cup/").status_code == 404


def test_forms_need_the_csrf_token(ann, cup):
    client = Client(enforce_csrf_checks=True)
    client.force_login(ann)
    assert client.post("/en/reviews/write/cup/", {"rating": "4", "title": "x"}).status_code == 403


def test_logging_in_leads_back_and_out_leads_home(client, ann):
    login = {"username": "ann", "password": "secret-enough", "next": "/de/products/"}
    assert client.post("/de/account/login/", login).headers["Location"] == "/de/products/"
    assert "Abmelden" in page(client.get("/de/bar/"))
    assert client.post("/de/account/logout/").headers["Location"] == "/de/"
    assert "Anmelden" in page(client.get("/de/bar/"))
    wrong = client.post("/en/account/login/", {"username": "ann", "password": "no"})
    assert "Please enter a correct username and password." in page(wrong)
    elsewhere = client.post("/en/account/login/", login | {"next": "https://evil.example/"})
    assert elsewhere.headers["Location"] == "/en/account/"


def test_a_visitor_registers_and_is_logged_in(client):
    form = {"username": "neu", "email": "neu@example.com", "password1": "long-enough-7", "password2": "long-enough-7"}
    assert "Create an account" in page(client.get("/en/account/register/"))
    welcome = client.post("/en/account/register/", form, follow=True)
    assert "Welcome! Your account is ready." in page(welcome)
    assert User.objects.get(username="neu").email == "neu@example.com"
    assert client.get("/en/account/register/").headers["Location"] == "/en/account/"
    client.logout()
    assert "already exists" in page(client.post("/en/account/register/", form))


def test_an_account_page_is_for_its_owner(client, ann):
    assert client.get("/de/account/").headers["Location"] == "/de/account/login/?next=/de/account/"
    factories.review(author=ann, title="Mine")
    client.force_login(ann)
    assert "Mine" in page(client.get("/en/account/"))


def test_details_and_address_are_saved(client, ann):
    client.force_login(ann)
    details = {"first_name": "Ann", "last_name": "B", "email": "ann@new.example", "newsletter": "on"}
    assert "Your details are saved." in page(client.post("/en/account/profile/", details, follow=True))
    address = {"name": "Ann B", "street": "Weg 1", "postcode": "10115", "city": "Berlin", "country": "DE"}
    for city in ["Berlin", "Köln"]:
        assert "Your address is saved." in page(
            client.post("/en/account/address/", address | {"city": city}, follow=True)
        )
    ann.refresh_from_db()
    assert (ann.first_name, ann.newsletter, [a.city for a in ann.addresses.all()]) == ("Ann", True, ["Köln"])
    assert "This field is required." in page(client.post("/en/account/address/", {"name": ""}))
    assert "Enter a valid email" in page(client.post("/en/account/profile/", details | {"email": "x"}))


def test_a_drawing_is_the_same_every_time(client):
    first, second, other = (client.get(f"/images/{sku}.svg") for sku in ["KIT-000001", "KIT-000001", "TEX-000002"])
    assert first.headers["Content-Type"] == "image/svg+xml"
    assert "max-age=86400" in first.headers["Cache-Control"]
    assert first.content == second.content != other.content
    assert ElementTree.fromstring(first.content).tag.endswith("svg")


@pytest.mark.parametrize("path", ["/static/shop/shop.css", "/static/shop/favicon.svg", "/favicon.ico", "/robots.txt"])
def test_static_files_are_served_without_debug(client, path):
    response = client.get(path)
    assert response.status_code == 200
    assert response.getvalue()
    response.close()
