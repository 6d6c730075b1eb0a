"""Structured logs: one JSON object a line, with the trace of the request that it belongs to.

Two kinds of lines share the format. Application lines come out of ``logging``; anything in them that looks like a
password, a token or a cookie is blotted out. Request lines come from the chassis, one a request; they carry the
path but never the query string, because that is where credentials and personal data travel.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TextIO

from strangler.service.trace import CURRENT, Trace

_SECRET_KEY: Final = re.compile(r"pass(word|wd)?|secret|token|authorization|cookie|api_?key|session", re.IGNORECASE)
_SECRET_TEXT: Final = re.compile(
    r"(?P<url>://[^\s:/@]*:)[^\s/@]+(?=@)"
    r"|(?P<key>\b(?:password|passwd|secret|token|authorization|cookie|api_?key)\b[\"']?\s*[=:]\s*[\"']?"
    r"(?:bearer |token |basic )?)[^\s,;&\"']+",
    re.IGNORECASE,
)
_PLAIN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_BLOT: Final = "***"
# Nobody reads more of a path, and a log must not grow as fast as somebody likes.
_LONGEST_PATH: Final = 2_000


def blot(text: str) -> str:
    """Return ``text`` with passwords in URLs and ``key=value`` secrets made unreadable."""
    return _SECRET_TEXT.sub(lambda found: (found["url"] or found["key"]) + _BLOT, text)


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON; keys given by ``extra`` stand beside the message."""

    def __init__(self, *, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": _instant(record.created),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": blot(record.getMessage()),
            **_trace_keys(CURRENT.get()),
            **{key: _safe(key, value) for key, value in vars(record).items() if key not in _PLAIN},
        }
        if record.exc_info:
            line["error"] = blot(self.formatException(record.exc_info))
        return json.dumps(line, default=str, ensure_ascii=False)


def configure(*, service: str, level: str = "INFO", stream: TextIO = sys.stderr) -> None:
    """Send every logger of this process to ``stream`` as JSON."""
    output = logging.StreamHandler(stream)
    output.setFormatter(JsonFormatter(service=service))
    logging.basicConfig(level=level.upper(), handlers=[output], force=True)


class RequestLog:
    """Writes one line a request to ``stream``, as soon as the request has been answered."""

    def __init__(self, stream: TextIO, *, service: str) -> None:
        self._stream = stream
        self._service = service

    @classmethod
    def opened(cls, path: str, *, service: str) -> RequestLog:
        """Append to the file ``path``; ``-`` is standard output."""
        return cls(sys.stdout if path == "-" else Path(path).open("a", encoding="utf-8"), service=service)

    def write(self, *, method: str, route: str, path: str, status: int, seconds: float, trace: Trace) -> None:
        line = {
            "at": _instant(time.time()),
            "service": self._service,
            "event": "request",
            "method": method,
            "route": route,
            "path": path[:_LONGEST_PATH],
            "status": status,
            "ms": round(seconds * 1000, 3),
            **_trace_keys(trace),
        }
        # One write a line: several processes may append to one file, and no reader sees half a line.
        self._stream.write(json.dumps(line, ensure_ascii=True) + "\n")
        self._stream.flush()


def _trace_keys(trace: Trace | None) -> Mapping[str, str]:
    if trace is None:
        return {}
    return {"trace_id": trace.trace_id, "span_id": trace.span_id, "request_id": trace.request_id}


def _safe(key: str, value: object) -> object:
    if _SECRET_KEY.search(key):
        return _BLOT
    return blot(value) if isinstance(value, str) else value


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
