"""What differs between installations, read once from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from strangler.service import csrf
from strangler.service.asked import Site
from strangler.service.database import setting
from strangler.service.serve import Listen
from strangler.service.settings import listed, log_level, site, whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one process; ``database`` is a URL with its password and is never shown."""

    database: str = field(repr=False)
    catalog: str
    listen: Listen
    pool: int
    request_log: str
    log_level: str
    site: Site
    guard: csrf.Site


def read(env: Mapping[str, str]) -> Settings:
    """Return the settings in ``env``; raises ``SettingRefused`` for the first that will not do."""
    return Settings(
        database=setting("WISHLIST_DATABASE_URL", env),
        catalog=env.get("CATALOG_URL", "http://127.0.0.1:8000"),
        listen=Listen.parse(env.get("WISHLIST_LISTEN", "127.0.0.1:8103")),
        pool=whole("WISHLIST_POOL_SIZE", env, usual=10, most=100),
        request_log=env.get("WISHLIST_REQUEST_LOG", "-"),
        log_level=log_level(env),
        site=site(env),
        guard=csrf.Site(trusted_origins=listed(env.get("CSRF_TRUSTED_ORIGINS", ""))),
    )
