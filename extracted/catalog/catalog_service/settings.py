"""What differs between installations, read once from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from catalog_service.asked import Site
from strangler.service.database import setting
from strangler.service.errors import SettingRefused
from strangler.service.serve import Listen


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one process; ``database`` is a URL with its password and is never shown."""

    database: str = field(repr=False)
    listen: Listen
    pool: int
    request_log: str
    log_level: str
    site: Site


def read(env: Mapping[str, str]) -> Settings:
    """Return the settings in ``env``; raises ``SettingRefused`` for the first that will not do."""
    return Settings(
        database=setting("CATALOG_DATABASE_URL", env),
        listen=Listen.parse(env.get("CATALOG_LISTEN", "127.0.0.1:8101")),
        pool=_whole("CATALOG_POOL_SIZE", env.get("CATALOG_POOL_SIZE", "10")),
        request_log=env.get("CATALOG_REQUEST_LOG", "-"),
        log_level=_level(env.get("LOG_LEVEL", "INFO")),
        site=_site(env),
    )


def _site(env: Mapping[str, str]) -> Site:
    # The same names and meanings as the monolith's: both stand behind the same public name and the same proxy.
    name, _, value = env.get("SECURE_PROXY_SSL_HEADER", "").partition(":")
    return Site(
        hosts=_listed(env.get("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")),
        trusted=_listed(env.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1")),
        tls_header=(name.strip().lower(), value.strip()) if name.strip() and value.strip() else None,
    )


def _listed(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(",") if each.strip())


def _whole(name: str, text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise SettingRefused(f"{name} is {text!r}; write a whole number from 1 to 100")
    return int(text)


def _level(text: str) -> str:
    if text.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise SettingRefused(f"LOG_LEVEL is {text!r}; write DEBUG, INFO, WARNING or ERROR")
    return text.upper()
