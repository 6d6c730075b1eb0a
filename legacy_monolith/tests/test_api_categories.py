import pytest

from tests import factories

CATEGORIES = "/api/catalog/categories/"


@pytest.fixture
def tree(db):
    kitchen = factories.category(name="Kitchen", slug="kitchen", position=20)
    knives = factories.category(name="Knives", slug="knives", position=30, parent=kitchen)
    garden = factories.category(name="Garden", slug="garden", position=10)
    factories.product(category=knives)
    factories.product(category=knives)
    factories.product(category=knives, is_active=False)
    return garden, kitchen, knives


def test_categories_are_listed_in_position_with_what_they_hold(api, tree):
    garden, kitchen, knives = tree
    body = (
        '{"count":3,"next":null,"previous":null,"results":['
        f'{{"id":{garden.id},"slug":"garden","name":"Garden","parent":null,"position":10,"product_count":0}},'
        f'{{"id":{kitchen.id},"slug":"kitchen","name":"Kitchen","parent":null,"position":20,"product_count":0}},'
        f'{{"id":{knives.id},"slug":"knives","name":"Knives","parent":"kitchen","position":30,"product_count":2}}]}}'
    )
    assert api.get(CATEGORIES).content.decode() == body


def test_a_category_is_found_by_its_slug(api, tree):
    assert api.get(f"{CATEGORIES}knives/").json() == {
        "id": tree[2].id,
        "slug": "knives",
        "name": "Knives",
        "parent": "kitchen",
        "position": 30,
        "product_count": 2,
    }


@pytest.mark.parametrize("slug", ["nowhere", "%00", "kni.ves", "KNIVES"])
def test_an_unknown_category_is_not_found(api, tree, slug):
    response = api.get(f"{CATEGORIES}{slug}/")
    assert (response.status_code, response.json()) == (404, {"detail": "Not found."})


def test_categories_are_paged(api, tree):
    page = api.get(f"{CATEGORIES}?page=2&page_size=2").json()
    assert ([each["slug"] for each in page["results"]], page["next"]) == (["knives"], None)
    assert page["previous"] == f"http://testserver{CATEGORIES}?page_size=2"
    assert api.get(f"{CATEGORIES}?page=9").json() == {"detail": "Invalid page."}


@pytest.mark.parametrize("url", [CATEGORIES, f"{CATEGORIES}knives/"])
def test_unchanged_categories_are_not_sent_again(api, tree, url):
    first = api.get(url)
    assert api.get(url, headers={"if-none-match": first.headers["ETag"]}).status_code == 304
    assert api.get(url, headers={"if-modified-since": first.headers["Last-Modified"]}).status_code == 304


def test_a_wider_tree_takes_no_more_queries(api, tree, django_assert_num_queries):
    for _ in range(10):
        factories.category(parent=tree[1])
    with django_assert_num_queries(4):
        api.get(CATEGORIES)
