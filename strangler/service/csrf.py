"""Cross-site request forgery, held off as the monolith does it, so that its forms and scripts go on working.

A browser sends its session cookie with whatever another site makes it send, so a request whose identity came ``via``
``"session"`` and that changes something must show that a page of this site made it. The rules are those of Django's
``CsrfViewMiddleware``: the ``Origin`` is ours (or, without one and over https, the ``Referer``), and the secret in the
cookie, which other sites can send but not read, is repeated in the form or in a header. Pages mask the secret with
a pad that differs each time, because what is compressed together with the visitor's words could be guessed from the
length (BREACH). Nothing here is kept: a secret is as good as the cookie that holds it.

A monolith with ``CSRF_USE_SESSIONS`` sets no cookie. Then the identity tells a salted digest of the secret, with which
the token of a page of the monolith is compared. Pages of services mask a secret that is made of that digest
(``secret_of``): only services know it, so that the monolith's own forms cannot be sent by it.

A token in ``Authorization`` is sent by nobody's browser by itself; requests with one need none of this.
"""

from __future__ import annotations

import hmac
import re
import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

from strangler.service.errors import ChassisError

COOKIE: Final = "csrftoken"
FIELD: Final = "csrfmiddlewaretoken"
HEADER: Final = "x-csrftoken"

SAFE: Final = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
# Django's: 32 of 62 letters, 190 bits; a masked one is as many letters of pad and as many of cipher.
_LETTERS: Final = string.ascii_letters + string.digits
_LENGTH: Final = 32
_FORMAT: Final = re.compile(rf"[a-zA-Z0-9]{{{_LENGTH}}}(?:[a-zA-Z0-9]{{{_LENGTH}}})?")


class Forged(ChassisError):
    """A request to change something may not come from a page of this site. Clients get a 403.

    When it happens to everybody, compare the trusted origins and the public address with the monolith's.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Whose pages may send requests. The monolith's settings, by the same names.

    ``trusted_origins`` are such as ``https://example.com`` or ``https://*.example.com``; ``cookie_domain`` widens
    what a ``Referer`` may be.
    """

    trusted_origins: tuple[str, ...] = ()
    cookie_domain: str | None = None
    cookie: str = COOKIE
    header: str = HEADER


_USUAL: Final = Site()


def check(
    *,
    method: str,
    headers: Mapping[str, str],
    cookies: Mapping[str, str],
    secure: bool,
    form_token: str = "",
    session: str = "",
    site: Site = _USUAL,
) -> None:
    """Return when the request comes from a page of ``site``. Raises ``Forged``, saying what is amiss.

    ``headers`` have lower-case names and the public ``host``; ``secure`` is whether the client's connection is https;
    ``form_token`` is the field ``csrfmiddlewaretoken`` of a POST, which counts before the header; ``session`` is the
    visitor's ``Identity.csrf``, which counts before the cookie.
    """
    if method in SAFE:
        return
    scheme, host = "https" if secure else "http", headers.get("host", "")
    origin, referer = headers.get("origin"), headers.get("referer")
    if origin is not None:
        _check_origin(origin, f"{scheme}://{host}", site)
    elif secure:
        _check_referer(referer, host, site)
    given = (form_token if method == "POST" else "") or headers.get(site.header)
    if session:
        _check_in_session(session, given, site)
    else:
        _check_token(cookies.get(site.cookie), given, site)


def _check_origin(origin: str, own: str, site: Site) -> None:
    if origin == own or origin in site.trusted_origins:
        return
    parts = _split(origin)
    if parts is None or not _covers(_wildcards(site, parts[0]), parts[1]):
        raise Forged(f"the Origin {origin!r} is not this site")


def _check_referer(referer: str | None, host: str, site: Site) -> None:
    if referer is None:
        raise Forged("there is neither an Origin nor a Referer")
    parts = _split(referer)
    if parts is None or not all(parts):
        raise Forged("the Referer is no address")
    scheme, place = parts
    if scheme != "https":
        raise Forged("the Referer is a page that was not fetched by https")
    trusted = tuple(urlsplit(each).netloc.lstrip("*") for each in site.trusted_origins)
    if not _covers((*trusted, _own_place(host, site)), place):
        raise Forged(f"the Referer is a page of {place!r}, which is not this site")


def _own_place(host: str, site: Site) -> str:
    if site.cookie_domain is None:
        return host
    port = host.rpartition("]")[2].partition(":")[2]
    return f"{site.cookie_domain}:{port}" if port and port not in ("443", "80") else site.cookie_domain


def _split(address: str) -> tuple[str, str] | None:
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    return parts.scheme, parts.netloc


def _wildcards(site: Site, scheme: str) -> tuple[str, ...]:
    parsed = [urlsplit(each) for each in site.trusted_origins if "*" in each]
    return tuple(each.netloc.lstrip("*") for each in parsed if each.scheme == scheme)


def _covers(patterns: tuple[str, ...], place: str) -> bool:
    """Return whether a pattern is ``place``; one that begins with a dot stands for all below it, too."""
    return any(_is_same_domain(place, pattern.lower()) for pattern in patterns if pattern)


def _is_same_domain(place: str, pattern: str) -> bool:
    return pattern == place or (pattern.startswith(".") and (place.endswith(pattern) or place == pattern[1:]))


def _check_in_session(session: str, given: str | None, site: Site) -> None:
    if not given:
        raise Forged(f"there is neither a field {FIELD} nor a header {site.header}")
    if _FORMAT.fullmatch(given) is None:
        raise Forged("the token is not the one in the session")
    salt, _, digest = session.partition(".")
    plain = _unmasked(given)
    found = hmac.new(salt.encode(), plain.encode(), sha256).hexdigest()
    if not hmac.compare_digest(found, digest) and not hmac.compare_digest(plain, secret_of(session)):
        raise Forged("the token is not the one in the session")


def secret_of(session: str) -> str:
    """Return the secret that pages of services mask, where the monolith keeps its own in the session."""
    raw = hmac.digest(session.encode(), b"form", "sha256")
    return "".join(_LETTERS[byte % len(_LETTERS)] for byte in raw)


def _check_token(cookie: str | None, given: str | None, site: Site) -> None:
    if cookie is None:
        raise Forged(f"there is no cookie {site.cookie}")
    if _FORMAT.fullmatch(cookie) is None:
        raise Forged(f"the cookie {site.cookie} holds no token")
    if not given:
        raise Forged(f"there is neither a field {FIELD} nor a header {site.header}")
    if _FORMAT.fullmatch(given) is None or not hmac.compare_digest(_unmasked(given), _unmasked(cookie)):
        raise Forged("the token is not the one in the cookie")


def fresh() -> str:
    """Return a secret for the cookie of a visitor who has none."""
    return "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))


def masked(cookie: str) -> str:
    """Return what to put into a form's hidden field for the visitor's ``cookie``; it differs each time.

    A cookie that holds no token gives one that will not pass; set a ``fresh`` one then.
    """
    if _FORMAT.fullmatch(cookie) is None:
        return ""
    pad = fresh()
    return pad + "".join(_shifted(letter, by, 1) for letter, by in zip(_unmasked(cookie), pad, strict=True))


def _unmasked(token: str) -> str:
    """Return the secret in ``token``; Django before 4.0 masked the cookie, too."""
    if len(token) == _LENGTH:
        return token
    pad, cipher = token[:_LENGTH], token[_LENGTH:]
    return "".join(_shifted(letter, by, -1) for letter, by in zip(cipher, pad, strict=True))


def _shifted(letter: str, by: str, sign: int) -> str:
    return _LETTERS[(_LETTERS.index(letter) + sign * _LETTERS.index(by)) % len(_LETTERS)]
