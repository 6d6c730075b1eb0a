"""The proxy's own answers."""

from __future__ import annotations

import json

import pytest

from strangler_proxy.problem import Problem, prefers_html, write_problem


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        (b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        (b"TEXT/HTML", True),
        (b"application/json", False),
        (b"application/json, text/html;q=0.9", False),
        (b"application/json;q=0.5, text/html;q=0.9", True),
        (b"text/html;q=0", False),
        (b"text/html;q=x", False),
        (b"*/*", False),
        (b"", False),
    ],
)
def test_a_page_is_for_who_prefers_it(accept: bytes, html: bool) -> None:
    assert prefers_html(accept) is html


def test_a_problem_is_whole() -> None:
    problem = Problem(status=503, detail="Busy.", retry_after=1)
    written = write_problem(problem, "id-1", accept=None, head_only=False, close=True)
    head, _, body = written.partition(b"\r\n\r\n")
    assert head.decode().split("\r\n") == [
        "HTTP/1.1 503 Service Unavailable",
        "Content-Type: application/problem+json",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Request-ID: id-1",
        "Retry-After: 1",
        "Connection: close",
    ]
    assert json.loads(body) == {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "Busy.",
        "instance": "id-1",
    }


def test_a_page_escapes_and_needs_nothing_else() -> None:
    problem = Problem(status=400, detail="<script>")
    page = write_problem(problem, 'id"<', accept=b"text/html", head_only=False, close=False)
    assert b"<script>" not in page
    assert b"&lt;script&gt;" in page
    assert b"id&quot;&lt;</code>" in page
    assert not any(word in page for word in (b"src=", b"href=", b"@import", b"url("))


def test_head_gets_the_head() -> None:
    problem = Problem(status=502, detail="x")
    written = write_problem(problem, "id", accept=b"text/html", head_only=True, close=False)
    assert written.endswith(b"\r\n\r\n")
    assert b"Content-Length: 0" not in written
