"""What the pages say in German."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

TEXTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "%(counter)s in stock": "%(counter)s auf Lager",
        "%(counter)s product": "%(counter)s Produkt",
        "%(counter)s products": "%(counter)s Produkte",
        "%(rating)s of 5 stars": "%(rating)s von 5 Sternen",
        "Account": "Konto",
        "Add to cart": "In den Warenkorb",
        "All categories": "Alle Kategorien",
        "Article number": "Artikelnummer",
        "Cart": "Warenkorb",
        "Category": "Kategorie",
        "Ensure this value has at most %(most)d characters (it has %(has)d).": (
            "Bitte sicherstellen, dass der Wert aus höchstens %(most)d Zeichen besteht. "
            "(Er besteht aus %(has)d Zeichen.)"
        ),
        "Keep on my wish list": "Auf den Wunschzettel",
        "Language": "Sprache",
        "Main": "Hauptmenü",
        "Name": "Name",
        "Name or article number": "Name oder Artikelnummer",
        "Newest first": "Neueste zuerst",
        "Next page": "Nächste Seite",
        "No reviews yet": "Noch keine Bewertung",
        "Not found": "Nicht gefunden",
        "Nothing fits. Try fewer words or another category.": (
            "Nichts passt. Versuchen Sie es mit weniger Wörtern oder einer anderen Kategorie."
        ),
        "Null characters are not allowed.": "Nullzeichen sind nicht erlaubt.",
        "Pages": "Seiten",
        "Previous page": "Vorige Seite",
        "Price, highest first": "Preis, höchster zuerst",
        "Price, lowest first": "Preis, niedrigster zuerst",
        "Products": "Produkte",
        "Quantity": "Menge",
        "Reviews": "Bewertungen",
        "Search": "Suche",
        "Search the shop": "Im Laden suchen",
        "Select a valid choice. %(value)s is not one of the available choices.": (
            "Bitte eine gültige Auswahl treffen. %(value)s ist keine gültige Auswahl."
        ),
        "Show": "Anzeigen",
        "Skip to the content": "Zum Inhalt springen",
        "Sold out": "Ausverkauft",
        "Sort by": "Sortieren nach",
        "There is nothing at this address.": "Unter dieser Adresse gibt es nichts.",
        "Things that last.": "Dinge, die bleiben.",
        "To the front page": "Zur Startseite",
        "What customers say": "Was Kunden sagen",
        "You are here": "Sie sind hier",
        "no": "nein",
        "yes": "ja",
    }
)
