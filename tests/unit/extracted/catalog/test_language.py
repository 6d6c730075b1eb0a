from __future__ import annotations

import pytest
from catalog_service.language import number, of_path, of_visitor, said


@pytest.mark.parametrize(
    ("path", "language"),
    [("/en/", "en"), ("/de/products/", "de"), ("/de-at/x", "de"), ("/fr/", None), ("/products/", None), ("/", None)],
)
def test_an_address_may_name_a_language(path: str, language: str | None) -> None:
    assert of_path(path) == language


@pytest.mark.parametrize(
    ("headers", "language"),
    [
        ({}, "en"),
        ({"accept-language": "de-CH,de;q=0.9,en;q=0.8"}, "de"),
        ({"accept-language": "en;q=0.2,de;q=0.3"}, "de"),
        ({"accept-language": "fr, *;q=0.5, de;q=0.1"}, "en"),
        ({"accept-language": "de;q=0"}, "en"),
        ({"accept-language": "de;q=2, nonsense;;"}, "en"),
        ({"cookie": "a=b; django_language=de", "accept-language": "en"}, "de"),
        ({"cookie": "django_language=xx", "accept-language": "de"}, "de"),
    ],
)
def test_a_visitor_is_spoken_to_as_asked(headers: dict[str, str], language: str) -> None:
    assert of_visitor(headers) == language


def test_what_has_no_translation_stays_as_it_is() -> None:
    assert said("Show", "de") == "Anzeigen"
    assert said("Show", "en") == said("Unheard of", "de").replace("Unheard of", "Show")
    assert said("%(counter)s products", "de", counter=3) == "3 Produkte"


@pytest.mark.parametrize(
    ("value", "english", "german"),
    [
        (0.5, "0.5", "0,5"),
        (1e21, "1000000000000000000000", "1000000000000000000000"),
        (1e-06, "0.000001", "0,000001"),
        (-0.0, "-0.0", "-0,0"),
        (12345, "12345", "12345"),
        (True, "True", "True"),
        (None, "None", "None"),
        ("1.5", "1.5", "1.5"),
    ],
)
def test_numbers_are_written_as_the_language_does(value: object, english: str, german: str) -> None:
    assert (number(value, "en"), number(value, "de")) == (english, german)
