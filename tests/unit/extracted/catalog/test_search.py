from __future__ import annotations

from catalog_service.search import Shelf, read

SHELVES = (
    Shelf(id=1, slug="kitchen", title="Kitchen <b>", depth=0),
    Shelf(id=2, slug="mugs", title="Mugs", depth=1),
    Shelf(id=3, slug="small", title="Small", depth=2),
    Shelf(id=4, slug="garden", title="Garden", depth=0),
)


def test_a_category_has_all_that_stand_below_it() -> None:
    assert [read({"category": slug}, SHELVES, "en").branch for slug in ("kitchen", "mugs", "garden", "", "none")] == [
        (1, 2, 3),
        (2, 3),
        (4,),
        None,
        None,
    ]


def test_what_is_asked_wrongly_is_said_and_left_out() -> None:
    search = read({"q": "a\0", "category": "<i>", "sort": "stock"}, SHELVES, "de")
    assert (search.words, search.branch, search.ordering) == ((), None, ("-created_at",))
    assert [field.errors for field in (search.q, search.category, search.sort)] == [
        ("Nullzeichen sind nicht erlaubt.",),
        ("Bitte eine gültige Auswahl treffen. <i> ist keine gültige Auswahl.",),
        ("Bitte eine gültige Auswahl treffen. stock ist keine gültige Auswahl.",),
    ]


def test_what_was_typed_comes_back_escaped() -> None:
    search = read({"q": '"><script>', "category": "kitchen"}, SHELVES, "en")
    assert 'value="&quot;&gt;&lt;script&gt;"' in search.q.widget
    assert '<option value="kitchen" selected>Kitchen &lt;b&gt;</option>' in search.category.widget
    assert "\N{NO-BREAK SPACE}" * 6 + "Small" in search.category.widget


def test_too_many_letters_are_counted_without_the_space_around_them() -> None:
    assert read({"q": " " + "a" * 100 + " "}, SHELVES, "en").words == ("a" * 100,)
    assert read({"q": "a" * 101}, SHELVES, "en").q.errors == (
        "Ensure this value has at most 100 characters (it has 101).",
    )
