"""A request as a Django project understands it, for a service that answers in its place."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from starlette.types import Scope

# What may stand unquoted in a URL, and in the path of one (RFC 3986, sections 2.2 and 3.3).
_IN_URL: Final = "/#%[]=:;$&()+,!?*@'~"
_IN_PATH: Final = "/:@&+$,-_.!~*'()"
_AS_WRITTEN: Final = "strangler-as-written"
_MOST_PARAMETERS: Final = 1_000
_HOST: Final = re.compile(r"([a-z0-9.-]+|\[[a-f0-9]*:[a-f0-9.:]+\])(?::[0-9]+)?")


class Malformed(Exception):
    """The request makes no sense as a whole: answer 400 and nothing else."""


class Stranger(Exception):
    """The request was sent to a name that is not ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Under which names a service is reachable, and who may say that the outer connection is TLS.

    A peer in ``trusted`` says so with ``X-Forwarded-Proto: https``. Where ``tls_header`` is set, it counts from
    anyone, and alone.
    """

    hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
    trusted: tuple[str, ...] = ("127.0.0.1", "::1")
    tls_header: tuple[str, str] | None = None

    def scheme(self, scope: Scope, headers: Mapping[str, str]) -> str:
        """Return the scheme that the client used."""
        if self.tls_header is not None:
            name, value = self.tls_header
            return "https" if headers.get(name, "").split(",", 1)[0].strip() == value else "http"
        peer = (scope.get("client") or ("",))[0]
        believed = peer in self.trusted or "*" in self.trusted
        return "https" if believed and headers.get("x-forwarded-proto") == "https" else str(scope["scheme"])

    def knows(self, host: str) -> bool:
        """Whether ``host`` (a Host header's value) is ours; a pattern ``.example.com`` has all its subdomains."""
        match = _HOST.fullmatch(host.lower())
        domain = match[1].removesuffix(".") if match else ""
        return bool(domain) and any(self._matches(domain, pattern.lower()) for pattern in self.hosts)

    @staticmethod
    def _matches(domain: str, pattern: str) -> bool:
        if pattern.startswith("."):
            return domain.endswith(pattern) or domain == pattern[1:]
        return pattern in ("*", domain)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request. ``headers`` have lower-case names; a header sent twice is joined with a comma."""

    method: str
    scheme: str
    path: str
    query: str
    headers: Mapping[str, str]
    captured: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, scope: Scope, site: Site) -> Asked:
        """Read ``scope``; raises ``Stranger`` for a host that is not ours."""
        headers = _joined(scope["headers"])
        if not site.knows(headers.get("host", "")):
            raise Stranger
        return cls(
            method=scope["method"],
            scheme=site.scheme(scope, headers),
            path=_path(scope),
            query=scope["query_string"].decode("latin-1"),
            headers=headers,
            captured=scope.get("path_params", {}),
        )

    @cached_property
    def parameters(self) -> Mapping[str, str]:
        """The query's parameters, the last of equal names counting; raises ``Malformed`` for far too many."""
        raw = self.query.encode("latin-1")
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            text = self.query
        try:
            return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS))
        except ValueError as error:
            raise Malformed from error

    @property
    def version(self) -> str:
        """The version of the API that the client speaks."""
        return self.headers.get("api-version", "1")

    @property
    def target(self) -> str:
        """Path and query as they may stand in a link."""
        return self.target_at(self.path)

    def target_at(self, path: str) -> str:
        query = f"?{quote(self.query, safe=_IN_URL)}" if self.query else ""
        return quote(path, safe=_IN_PATH) + query

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.headers['host']}{self.target}"


def _path(scope: Scope) -> str:
    """Return the path, of whose bytes those that are no text stay as they were written."""
    raw = scope.get("raw_path")
    return unquote_to_bytes(raw).decode(errors=_AS_WRITTEN) if raw else str(scope["path"])


def _as_written(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return quote(error.object[error.start : error.end]), error.end


codecs.register_error(_AS_WRITTEN, _as_written)


def _joined(pairs: list[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        # The space around a value is not part of it (RFC 9110, section 5.5); some servers leave what follows.
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1").strip(" \t")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers
