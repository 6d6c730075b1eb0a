"""What the pages say in German."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

TEXTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Account": "Konto",
        "Cart": "Warenkorb",
        "Keep on my wish list": "Auf den Wunschzettel",
        "Keep on the wish list": "Auf den Wunschzettel",
        "Language": "Sprache",
        "Main": "Hauptmenü",
        "Not found": "Nicht gefunden",
        "Please come back in a moment.": "Bitte kommen Sie gleich noch einmal.",
        "Please go back, reload the page and try again.": (
            "Bitte gehen Sie zurück, laden Sie die Seite neu und versuchen Sie es noch einmal."
        ),
        "Products": "Produkte",
        "Remove": "Entfernen",
        "Remove %(name)s": "%(name)s entfernen",
        "Search": "Suche",
        "Search the shop": "Im Laden suchen",
        "See all products": "Alle Produkte ansehen",
        "Skip to the content": "Zum Inhalt springen",
        "The shop": "Der Laden",
        "There is nothing at this address.": "Unter dieser Adresse gibt es nichts.",
        "Things that last.": "Dinge, die bleiben.",
        "This cannot be done just now": "Das geht gerade nicht",
        "This did not come from the shop's pages": "Das kam nicht von den Seiten des Ladens",
        "To my wish list": "Zu meinem Wunschzettel",
        "To the front page": "Zur Startseite",
        "Your wish list": "Ihr Wunschzettel",
        "Your wish list is empty.": "Ihr Wunschzettel ist leer.",
        "Your wish list is full": "Ihr Wunschzettel ist voll",
        "It holds at most %(most)s products. Remove one first.": (
            "Es passen höchstens %(most)s Produkte darauf. Entfernen Sie zuerst eines."
        ),
    }
)
