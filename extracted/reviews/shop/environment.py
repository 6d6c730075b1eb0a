"""Read settings from the environment, once, and say plainly what is wrong with them."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

TRUE = {"1", "true", "yes"}
FALSE = {"", "0", "false", "no"}


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, default).strip()


def secret(name: str) -> str:
    """Return NAME, or the contents of the file that NAME_FILE names, or an empty string."""
    if path := text(f"{name}_FILE"):
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as exc:
            raise ImproperlyConfigured(f"{name}_FILE names {path}, which cannot be read: {exc.strerror}") from exc
    return text(name)


def flag(name: str, default: bool = False) -> bool:
    value = text(name, str(default)).lower()
    if value not in TRUE | FALSE:
        raise ImproperlyConfigured(f"{name} is {value!r}; say 1 or 0")
    return value in TRUE


def number(name: str, default: int) -> int:
    value = text(name, str(default))
    if not value.isdecimal():
        raise ImproperlyConfigured(f"{name} is {value!r}; a whole number is wanted")
    return int(value)


def listed(name: str, default: str = "") -> list[str]:
    return [item.strip() for item in text(name, default).split(",") if item.strip()]


def pair(name: str) -> tuple[str, str] | None:
    """Return `Header-Name:value` as Django wants it for SECURE_PROXY_SSL_HEADER, None when unset."""
    value = text(name)
    if not value:
        return None
    header, colon, expected = value.partition(":")
    if not (header and colon and expected):
        raise ImproperlyConfigured(f"{name} is {value!r}; write it as X-Forwarded-Proto:https")
    return "HTTP_" + header.strip().upper().replace("-", "_"), expected.strip()


def database(name: str) -> dict[str, Any]:
    """Return Django's settings for the postgres:// URL in NAME or NAME_FILE."""
    url = secret(name)
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"} or len(parts.path) < 2:
        found = f"its scheme is {parts.scheme!r}" if url else "it is not set"
        raise ImproperlyConfigured(f"{name} (or {name}_FILE) must be postgresql://user@host:port/name; {found}")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path[1:]),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(parts.port or ""),
        "OPTIONS": dict(parse_qsl(parts.query)),
        "CONN_MAX_AGE": 60,
        # A restarted database costs no request: a dead connection is replaced before it is used.
        "CONN_HEALTH_CHECKS": True,
    }


def cache(name: str) -> dict[str, Any]:
    if url := secret(name):
        return {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": url}
    return {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}


def mailer(name: str) -> dict[str, Any]:
    """Return where letters go, for smtp://user:password@host:port; they are printed when it is unset.

    smtps:// speaks TLS from the start, smtp+starttls:// after asking.
    """
    url = secret(name)
    if not url:
        return {"BACKEND": "django.core.mail.backends.console.EmailBackend"}
    parts = urlsplit(url)
    if parts.scheme not in {"smtp", "smtps", "smtp+starttls"} or not parts.hostname:
        raise ImproperlyConfigured(
            f"{name} (or {name}_FILE) must be smtp://user:password@host:port; its scheme is {parts.scheme!r}"
        )
    return {
        "BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "OPTIONS": {
            "host": parts.hostname,
            "port": parts.port or (465 if parts.scheme == "smtps" else 25),
            "username": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
            "use_ssl": parts.scheme == "smtps",
            "use_tls": parts.scheme == "smtp+starttls",
            # A letter that cannot be sent now is tried again; nobody waits longer for it.
            "timeout": 10,
        },
    }
