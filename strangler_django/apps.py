from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import Error, register

from strangler_django.channel import SecretTooShort, secret


class StranglerConfig(AppConfig):
    name = "strangler_django"
    verbose_name = "Strangler"

    def ready(self) -> None:
        register(check_secret)


def check_secret(**_: object) -> list[Error]:
    """Say at the start, and not with the first question, that the secret is too short."""
    try:
        secret()
    except SecretTooShort as error:
        return [Error(str(error), hint="Set at least 32 random bytes, or nothing.", id="strangler_django.E001")]
    return []
