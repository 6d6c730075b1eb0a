"""What differs between installations, read once from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from strangler.service.asked import Site
from strangler.service.database import setting
from strangler.service.serve import Listen
from strangler.service.settings import log_level, site


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one process; ``catalog`` is where the catalog's API answers."""

    catalog: str
    listen: Listen
    request_log: str
    log_level: str
    site: Site


def read(env: Mapping[str, str]) -> Settings:
    """Return the settings in ``env``; raises ``SettingRefused`` for the first that will not do."""
    return Settings(
        catalog=setting("CATALOG_URL", env),
        listen=Listen.parse(env.get("RECOMMENDATIONS_LISTEN", "127.0.0.1:8104")),
        request_log=env.get("RECOMMENDATIONS_REQUEST_LOG", "-"),
        log_level=log_level(env),
        site=site(env),
    )
