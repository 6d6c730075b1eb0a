"""Where the proxy sends spans, and of how many requests."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from strangler.project.section import Section
from strangler.project.values import Tracing

_ENDPOINT: Final = 'a collector\'s address such as "http://127.0.0.1:4318/v1/traces"'
_SAMPLE: Final = "a part of the requests from 0 to 1"
# Where OTLP/HTTP puts them below a collector's base (OpenTelemetry Protocol, "OTLP/HTTP Request").
_PATH: Final = "/v1/traces"


def tracing_of(proxy: Section) -> Tracing | None:
    """Return what ``[proxy.tracing]`` says; None without it, which means that nothing is traced."""
    section = proxy.section("tracing")
    if "tracing" not in proxy.values:
        return None
    endpoint = section.text("endpoint", _ENDPOINT, check=_check_endpoint)
    sample = section.seconds("sample", _SAMPLE, Tracing(endpoint="").sample, 0.0, 1.0)
    section.close()
    return Tracing(endpoint=_whole(endpoint), sample=sample)


def _whole(endpoint: str) -> str:
    return endpoint.rstrip("/") + _PATH if urlsplit(endpoint).path in ("", "/") else endpoint


def _check_endpoint(text: str) -> None:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https"):
        raise ValueError("it begins with neither http:// nor https://")
    if "@" in parts.netloc:
        raise ValueError("it has a user; what proves who sends goes into OTEL_EXPORTER_OTLP_HEADERS")
    if not parts.hostname or parts.port == 0:
        raise ValueError("nobody can be reached there")
