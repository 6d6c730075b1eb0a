"""The proxy's public keys (RFC 7517): read when first needed, read again when they may have changed, never forgotten.

A key that nobody here knows may be a new one, so it is looked for; but whoever sends tokens of made-up keys must not
be able to make the service ask for each, so there is a pause between two questions. While the proxy's admin port does
not answer, the keys that are known go on.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from strangler.service.errors import SettingRefused, Unavailable, Untrusted

logger = logging.getLogger(__name__)

Source = Callable[[], bytes]
"""Answers the key set as it is now; raises ``OSError`` or ``httpx.HTTPError`` when it cannot be had."""

# A stranger's token costs one question in this time at most.
_PAUSE: Final = 5.0
# A service that starts before its proxy should not be without keys for longer than that.
_RETRY: Final = 1.0
# So long a key that was taken out is still believed.
_AGE: Final = 300.0
_PATIENCE: Final = 2.0


class Keyring:
    """The keys that ``source`` answers, by their id. Safe to use from several threads."""

    def __init__(self, source: Source, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: Mapping[str, OKPKey] = {}
        self._failed = False
        self._not_before = float("-inf")
        self._stale = float("-inf")

    def __repr__(self) -> str:
        return f"<Keyring {sorted(self._keys)}{' (cannot be refreshed)' if self._failed else ''}>"

    def at_hand(self, kid: str) -> bool:
        """Return whether ``find`` answers without asking anybody."""
        now = self._clock()
        return now < self._not_before or (kid in self._keys and now < self._stale)

    def find(self, kid: str) -> OKPKey:
        """Return the key called ``kid``. Raises ``Untrusted`` without one, ``Unavailable`` when that cannot be known.

        May wait for the source, at most two seconds.
        """
        if not self.at_hand(kid):
            self._refresh(kid)
        found = self._keys.get(kid)
        if found is not None:
            return found
        if self._failed:
            raise Unavailable("the keys by which identities are verified cannot be had")
        raise Untrusted("it is signed with an unknown key")

    def _refresh(self, kid: str) -> None:
        if not self._lock.acquire(blocking=kid not in self._keys):
            return  # somebody refreshes already, and the key that is known will do
        try:
            if not self.at_hand(kid):
                self._ask()
        finally:
            self._lock.release()

    def _ask(self) -> None:
        try:
            self._keys = parse(self._source())
        except (OSError, httpx.HTTPError, ValueError) as error:
            self._failed = True
            self._not_before = self._clock() + _RETRY
            logger.warning("the keys by which identities are verified cannot be had: %s", error)
            return
        self._failed = False
        self._not_before = self._clock() + _PAUSE
        self._stale = self._clock() + _AGE


def parse(document: bytes) -> dict[str, OKPKey]:
    """Return the Ed25519 keys of a JWK set by their id; others are none of ours. Raises ``ValueError`` without any."""
    raw = json.loads(document)
    listed = raw.get("keys") if isinstance(raw, dict) else None
    if not isinstance(listed, list):
        raise ValueError("it is no JWK set")
    keys = {each["kid"]: _key(each) for each in listed if _is_ours(each)}
    if not keys:
        raise ValueError("it has no Ed25519 key with an id")
    return keys


def _is_ours(raw: object) -> bool:
    return (
        isinstance(raw, dict)
        and (raw.get("kty"), raw.get("crv"), raw.get("use", "sig")) == ("OKP", "Ed25519", "sig")
        and isinstance(raw.get("kid"), str)
        and isinstance(raw.get("x"), str)
    )


def _key(raw: Mapping[str, Any]) -> OKPKey:
    try:
        return OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": raw["x"]})
    except (JoseError, ValueError) as error:
        raise ValueError(f"its key {raw['kid']!r} is none") from error


def source_of(place: str) -> Source:
    """Return what reads ``place``, an http address or a file's path. Raises ``SettingRefused`` for no such file."""
    if place.startswith(("http://", "https://")):
        return lambda: _fetch(place)
    path = Path(place)
    if not path.is_file():
        raise SettingRefused(f"STRANGLER_JWKS is {place!r}, and there is no such file; name one, or write http://...")
    return path.read_bytes


def _fetch(url: str) -> bytes:
    # No proxy out of the environment stands between this service and its own installation.
    return httpx.get(url, timeout=_PATIENCE, trust_env=False).raise_for_status().content
