"""Settings that every service has, read from the environment by the names that they have in a Django project."""

from __future__ import annotations

from collections.abc import Mapping

from strangler.service.asked import Site
from strangler.service.errors import SettingRefused


def site(env: Mapping[str, str]) -> Site:
    """Return under which names the service is reachable: the monolith's, whose public name and proxy it shares."""
    name, _, value = env.get("SECURE_PROXY_SSL_HEADER", "").partition(":")
    return Site(
        hosts=listed(env.get("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")),
        trusted=listed(env.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1")),
        tls_header=(name.strip().lower(), value.strip()) if name.strip() and value.strip() else None,
    )


def listed(text: str) -> tuple[str, ...]:
    """Return what is listed in ``text`` between commas."""
    return tuple(each.strip() for each in text.split(",") if each.strip())


def whole(name: str, env: Mapping[str, str], *, usual: int, most: int) -> int:
    """Return the number in ``$NAME``; raises ``SettingRefused`` for anything but a whole one from 1 to ``most``."""
    text = env.get(name, str(usual))
    if not (text.isascii() and text.isdecimal()) or len(text) > len(str(most)) or not 1 <= int(text) <= most:
        raise SettingRefused(f"{name} is {text!r}; write a whole number from 1 to {most}")
    return int(text)


def log_level(env: Mapping[str, str]) -> str:
    """Return ``$LOG_LEVEL``; raises ``SettingRefused`` for one that there is not."""
    text = env.get("LOG_LEVEL", "INFO")
    if text.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise SettingRefused(f"LOG_LEVEL is {text!r}; write DEBUG, INFO, WARNING or ERROR")
    return text.upper()
