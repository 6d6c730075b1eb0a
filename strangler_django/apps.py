from __future__ import annotations

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.checks import Warning as Caution

from strangler_django.channel import SecretTooShort, secret

MIDDLEWARE = "strangler_django.forget.middleware"
NAMES = "strangler_django.names.middleware"


class StranglerConfig(AppConfig):
    name = "strangler_django"
    verbose_name = "Strangler"

    def ready(self) -> None:
        from strangler_django import forget, names

        register(check_settings)
        forget.connect()
        if NAMES in settings.MIDDLEWARE:
            names.connect()


def check_settings(**_: object) -> list[CheckMessage]:
    """Say at the start, and not with the first question or the first logout, what is amiss."""
    try:
        found = secret()
    except SecretTooShort as error:
        return [Error(str(error), hint="Set at least 32 random bytes, or nothing.", id="strangler_django.E001")]
    if found and MIDDLEWARE not in settings.MIDDLEWARE:
        hint = f'Put "{MIDDLEWARE}" first into MIDDLEWARE.'
        late = "Services learn up to 15 seconds late that somebody was switched off."
        return [Caution(late, hint=hint, id="strangler_django.W001")]
    return []
