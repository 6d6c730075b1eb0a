from __future__ import annotations

from django.apps import AppConfig, apps
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
        from strangler_django import background, forget, names

        register(check_settings)
        background.connect()
        forget.connect()
        if NAMES in settings.MIDDLEWARE:
            names.connect()
        if getattr(settings, "STRANGLER_OWNED", None) and apps.is_installed("django.contrib.admin"):
            from strangler_django.admin import protect

            protect()


def check_settings(**_: object) -> list[CheckMessage]:
    """Say at the start, and not with the first question or the first logout, what is amiss."""
    try:
        found = secret()
    except SecretTooShort as error:
        return [Error(str(error), hint="Set at least 32 random bytes, or nothing.", id="strangler_django.E001")]
    if getattr(settings, "STRANGLER_OWNED", None) and _too_early():
        hint = 'Put "strangler_django" behind "django.contrib.admin" into INSTALLED_APPS.'
        early = "The admins of models in STRANGLER_OWNED are registered after strangler_django looked for them."
        return [Error(early, hint=hint, id="strangler_django.E002")]
    if found and MIDDLEWARE not in settings.MIDDLEWARE:
        hint = f'Put "{MIDDLEWARE}" first into MIDDLEWARE.'
        late = "Services learn up to 15 seconds late that somebody was switched off."
        return [Caution(late, hint=hint, id="strangler_django.W001")]
    return []


def _too_early() -> bool:
    names = [each.name for each in apps.get_app_configs()]
    return "django.contrib.admin" in names[names.index("strangler_django") :]
