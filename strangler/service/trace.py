"""Which request this is: W3C trace context and the request id, for every line that is logged on its way."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Final

Headers = Iterable[tuple[bytes, bytes]]

# Trace Context, section 3.2: a later version may append fields after a dash, version 00 may not, ff is forbidden.
_PARENT: Final = re.compile(rb"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
_SAMPLED: Final = 0x01


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The place of one request in a trace: ``span_id`` is ours, ``parent_id`` the caller's, None at a beginning."""

    trace_id: str
    span_id: str
    parent_id: str | None
    sampled: bool
    request_id: str

    @property
    def traceparent(self) -> str:
        """The header to send along with a request of our own."""
        return f"00-{self.trace_id}-{self.span_id}-{self.sampled:02x}"

    def child(self) -> Trace:
        """Return the place of a request that is made in order to answer this one."""
        return replace(self, span_id=os.urandom(8).hex(), parent_id=self.span_id)


CURRENT: Final[ContextVar[Trace | None]] = ContextVar("strangler_service_trace", default=None)
"""The trace of the request that the running task answers, None outside of requests."""


def read(headers: Headers) -> Trace:
    """Return the trace that a request's lower-case headers carry; a fresh one where they carry none, or nonsense."""
    parents = [value for name, value in headers if name == b"traceparent"]
    named = next((value for name, value in headers if name == b"x-request-id"), b"")
    trace_id, parent_id, sampled = _parent(parents) or (os.urandom(16).hex(), None, False)
    request_id = named.decode() if _REQUEST_ID.fullmatch(named) else trace_id
    return Trace(
        trace_id=trace_id, span_id=os.urandom(8).hex(), parent_id=parent_id, sampled=sampled, request_id=request_id
    )


def _parent(values: list[bytes]) -> tuple[str, str, bool] | None:
    match = _PARENT.fullmatch(values[0]) if len(values) == 1 else None
    if match is None:
        return None
    version, trace_id, parent_id, flags, later = match.groups()
    if (version == b"00" and later) or not trace_id.strip(b"0") or not parent_id.strip(b"0"):
        return None
    return trace_id.decode(), parent_id.decode(), bool(int(flags, 16) & _SAMPLED)
