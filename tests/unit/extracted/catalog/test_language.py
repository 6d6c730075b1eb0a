"""Pages speak and write as the other stack's do: its framework is asked where it can be."""

from __future__ import annotations

from decimal import Decimal
from itertools import takewhile

import pytest
from catalog_service.language import LANGUAGES, number, of_path, of_visitor, said
from django.http import parse_cookie
from django.utils.numberformat import format as written
from django.utils.translation.trans_real import parse_accept_lang_header
from hypothesis import example, given
from hypothesis import strategies as st

_CODES = st.sampled_from(["de", "DE", "de-AT", "de_AT", "en", "en-us", "fr", "*", "x", "", "d e", "de-latn-de-1996"])
_QUALITIES = st.sampled_from(["", ";q=1", ";q=0.5", "; q=0.123", ";q=0", ";q=2", ";q=.5", ";", ";;", " ; Q=0.3"])
_WISHES = st.lists(st.builds("{}{}".format, _CODES, _QUALITIES), max_size=5).map(",".join)
_CRUMBS = st.sampled_from(["a=b", "x", "[a]=1", 'a="', "django_language=", "", "=", "django_language", "a=b=c"])
_COOKIES = st.lists(_CRUMBS | st.builds('django_language={0}; b="{0}"'.format, _CODES), max_size=4).map("; ".join)


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
        ({"accept-language": "de;q=0"}, "de"),
        ({"accept-language": "de;q=2, nonsense;;"}, "en"),
        ({"cookie": "a=b; django_language=de", "accept-language": "en"}, "de"),
        ({"cookie": "django_language=xx", "accept-language": "de"}, "de"),
    ],
)
def test_a_visitor_is_spoken_to_as_asked(headers: dict[str, str], language: str) -> None:
    assert of_visitor(headers) == language


@given(_COOKIES, _WISHES)
@example("x; django_language=de", "")
@example("", "en," * 200 + "de")
@example("", "fr," * 166 + "de,x")
@example("", "fr," * 166 + "deutsch")
@example("", "x" * 501 + ",de")
@example("", "de,,en")
@example("", "de,")
@example("", "de ,\ten")
def test_cookies_and_wishes_are_read_as_there(cookie: str, accepted: str) -> None:
    browser = [code for code, _ in parse_accept_lang_header(accepted.lower())]
    wishes = [parse_cookie(cookie).get("django_language", ""), *takewhile(lambda code: code != "*", browser)]
    known = [code for wish in wishes if (code := wish.lower().split("-")[0]) in LANGUAGES]
    assert of_visitor({"cookie": cookie, "accept-language": accepted}) == [*known, "en"][0]


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


_NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.decimals("-1e10", "1e10", places=2)


@given(_NUMBERS)
@example(1e300)
@example(1e-300)
@example(1.5e250)
@example(Decimal("0.00"))
def test_a_number_is_written_as_there(value: float | Decimal) -> None:
    expected = [str(written(value, separator, grouping=0, use_l10n=False)) for separator in ".,"]
    assert [number(value, language) for language in ("en", "de")] == expected
