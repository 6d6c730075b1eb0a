"""Answers of the proxy itself, when no stack gave one: RFC 9457 problems, or a page for people.

The page stands alone (no file to fetch: what it would be fetched from is what failed) and tells the request's id,
which is also in the access log and in what the stacks were sent.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from html import escape
from http import HTTPStatus
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What went wrong with a request, in words for whoever sent it."""

    status: int
    detail: str
    retry_after: int | None = None

    @property
    def title(self) -> str:
        return HTTPStatus(self.status).phrase


def write_problem(
    problem: Problem, request_id: str, *, accept: bytes | None, head_only: bool, close: bool, extra: bytes = b""
) -> bytes:
    """Return the whole response. ``accept`` is the request's header; ``head_only`` leaves the body out (HEAD).

    ``extra`` are header lines that come with it.
    """
    page = prefers_html(accept or b"")
    body = _page(problem, request_id) if page else _json(problem, request_id)
    lines = [
        f"HTTP/1.1 {problem.status} {problem.title}",
        f"Content-Type: {'text/html; charset=utf-8' if page else 'application/problem+json'}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        f"X-Request-ID: {request_id}",
    ]
    if problem.retry_after is not None:
        lines.append(f"Retry-After: {problem.retry_after}")
    lines.append("Connection: close" if close else "Connection: keep-alive")
    head = "\r\n".join(lines).encode("latin-1") + b"\r\n" + extra + b"\r\n"
    return head if head_only else head + body


def prefers_html(accept: bytes) -> bool:
    """Return whether ``Accept`` puts ``text/html`` above JSON; browsers do, programs say ``*/*`` or nothing."""
    html = _quality(accept, (b"text/html", b"application/xhtml+xml"))
    return html > 0 and html > _quality(accept, (b"application/problem+json", b"application/json"))


def _quality(accept: bytes, types: tuple[bytes, ...]) -> float:
    best = 0.0
    for part in accept.lower().split(b","):
        name, *parameters = (piece.strip() for piece in part.split(b";"))
        if name in types:
            weights = [_weight(each[2:]) for each in parameters if each.startswith(b"q=")]
            best = max(best, weights[0] if weights else 1.0)
    return best


def _weight(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _json(problem: Problem, request_id: str) -> bytes:
    content = {
        "type": "about:blank",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": request_id,
    }
    return json.dumps(content).encode()


def _page(problem: Problem, request_id: str) -> bytes:
    return _PAGE.format(
        status=problem.status,
        title=escape(problem.title),
        detail=escape(problem.detail),
        request_id=escape(request_id),
    ).encode()


_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex"><title>{status} {title}</title><style>
:root{{color-scheme:light dark;--ink:#1c2430;--soft:#5d6b7e;--ground:#f5f6f8;--card:#fff;--line:#e1e5ea;--mark:#b4541a}}
@media(prefers-color-scheme:dark){{:root{{--ink:#e8ecf1;--soft:#98a5b6;--ground:#12161c;--card:#1a2028;--line:#2b343f;--mark:#f0a06a}}}}
*{{box-sizing:border-box}}body{{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.5rem;
background:var(--ground);color:var(--ink);font:1rem/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}}
main{{max-width:34rem;width:100%;background:var(--card);
border:1px solid var(--line);border-radius:14px;padding:2.25rem}}
p.status{{margin:0;font-size:.85rem;font-weight:600;letter-spacing:.08em;color:var(--mark)}}
h1{{margin:.25rem 0 .75rem;font-size:1.6rem;line-height:1.25}}p{{margin:0 0 1.25rem}}
footer{{border-top:1px solid var(--line);padding-top:1rem;font-size:.85rem;color:var(--soft)}}
code{{font:.85em ui-monospace,SFMono-Regular,Menlo,monospace;word-break:break-all}}
</style></head><body><main><p class="status">{status}</p><h1>{title}</h1><p>{detail}</p>
<footer>If you report this, please quote <code>{request_id}</code></footer></main></body></html>
"""
