"""A problem (RFC 9457) for programs, a page for people: the same words, as the proxy's own answers have them.

The page stands alone: no file to fetch, no script, and it is as readable where the project's content security policy
takes its style away. The project's own templates may want the database, or a user, and are left out of it.
"""

from __future__ import annotations

import json
import re
from html import escape
from http import HTTPStatus
from typing import Any, Mapping, Sequence

from django.http import HttpResponse

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def answer(
    request: Any,
    status: int,
    heading: str,
    detail: str,
    members: Mapping[str, str],
    links: Sequence[tuple[str, str]] = (),
    typed: Sequence[tuple[str, str]] = (),
) -> HttpResponse:
    """Return a response that nobody keeps; ``members`` stand in the problem, and in small print on the page.

    The page's alone are ``links``, of each its words and where it leads, and what somebody ``typed``, by its names.
    """
    found = request.headers.get("X-Request-ID", "")
    if _REQUEST_ID.fullmatch(found):
        members = {**members, "instance": f"urn:request:{found}"}
    page = prefers_html(request.headers.get("Accept", ""))
    body = _page(status, heading, detail, members, links, typed) if page else _json(status, detail, members)
    kind = "text/html; charset=utf-8" if page else "application/problem+json"
    response = HttpResponse(body, status=status, content_type=kind)
    response["Cache-Control"] = "no-store"
    return response


def prefers_html(accept: str) -> bool:
    """Return whether ``Accept`` puts ``text/html`` above JSON; browsers do, programs say ``*/*`` or nothing."""
    html = _quality(accept, ("text/html", "application/xhtml+xml"))
    return html > 0 and html > _quality(accept, ("application/problem+json", "application/json"))


def _quality(accept: str, types: tuple[str, ...]) -> float:
    best = 0.0
    for part in accept.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        if name in types:
            weights = [_weight(each[2:]) for each in parameters if each.startswith("q=")]
            best = max(best, weights[0] if weights else 1.0)
    return best


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _json(status: int, detail: str, members: Mapping[str, str]) -> str:
    title = HTTPStatus(status).phrase
    return json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail, **members})


def _page(
    status: int,
    heading: str,
    detail: str,
    members: Mapping[str, str],
    links: Sequence[tuple[str, str]],
    typed: Sequence[tuple[str, str]],
) -> str:
    ways = "".join(f'<li><a href="{escape(url)}">{escape(words)}</a></li>' for words, url in links)
    return _PAGE.format(
        status=status,
        heading=escape(heading),
        detail=escape(detail),
        links=f"<ul>{ways}</ul>" if ways else "",
        typed=_listed("typed", typed),
        small=_listed("small", list(members.items())),
    )


def _listed(kind: str, named: Sequence[tuple[str, str]]) -> str:
    told = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in named)
    return f'<dl class="{kind}">{told}</dl>' if told else ""


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex"><title>{heading}</title><style>
:root{{color-scheme:light dark;--ink:#1c2430;--soft:#5d6b7e;--ground:#f5f6f8;--card:#fff;--line:#e1e5ea;--mark:#b4541a}}
@media(prefers-color-scheme:dark){{:root{{--ink:#e8ecf1;--soft:#98a5b6;--ground:#12161c;--card:#1a2028;--line:#2b343f;--mark:#f0a06a}}}}
*{{box-sizing:border-box}}body{{margin:0;min-height:100vh;display:grid;place-items:center;padding:1rem;
background:var(--ground);color:var(--ink);font:1rem/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}}
main{{max-width:34rem;width:100%;background:var(--card);border:1px solid var(--line);border-radius:14px;
padding:clamp(1.25rem,5vw,2.25rem)}}
p.status{{margin:0;font-size:.85rem;font-weight:600;letter-spacing:.08em;color:var(--mark)}}
h1{{margin:.25rem 0 .75rem;font-size:1.6rem;line-height:1.25}}p{{margin:0 0 1.25rem}}
ul{{display:flex;flex-wrap:wrap;gap:.5rem 1.5rem;margin:0 0 1.25rem;padding:0;list-style:none}}
a{{color:var(--mark);font-weight:600;text-underline-offset:.2em}}
dl{{margin:0;padding-top:1rem;border-top:1px solid var(--line)}}dd{{margin:0}}
.typed{{margin-bottom:1.25rem}}.typed dt{{font-size:.85rem;color:var(--soft)}}
.typed dd{{margin-bottom:.75rem;white-space:pre-wrap;overflow-wrap:anywhere}}
.small{{display:grid;grid-template-columns:auto 1fr;gap:.25rem .75rem;font-size:.85rem;color:var(--soft)}}
.small dd{{font-family:ui-monospace,SFMono-Regular,Menlo,monospace;word-break:break-all}}
</style></head><body><main><p class="status">{status}</p>
<h1>{heading}</h1><p>{detail}</p>{links}{typed}{small}</main></body></html>
"""
