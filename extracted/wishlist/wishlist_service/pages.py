"""The pages of the wish list."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import quote

from markupsafe import Markup
from starlette.types import Receive, Scope, Send

from strangler.service import answer, csrf, problem
from strangler.service.answer import Answer, Refused
from strangler.service.asked import Asked, Malformed, Site, Stranger
from strangler.service.errors import Unavailable
from strangler.service.identity import current
from strangler.service.page import PageAsked
from wishlist_service.call import Call, body_of, cookies
from wishlist_service.catalog import Catalog, Product
from wishlist_service.html import of_path, rendered, said
from wishlist_service.wishes import MOST, Full, Wishes

_YEAR_S: Final = 31_449_600  # as long as Django's own, 52 weeks
_ALL: Final = PageAsked(number=1, size=MOST)

Answering = Callable[[Call, str], Awaitable[Answer]]


class Pages:
    """What each page answers, to a visitor who is logged in and in a language."""

    def __init__(self, wishes: Wishes, catalog: Catalog) -> None:
        self._wishes = wishes
        self._catalog = catalog

    async def wishes(self, call: Call, language: str) -> Answer:
        _, wishes = await self._wishes.page(call.visitor.subject, _ALL)
        return with_form("wishes.html", call, language, wishes=wishes)

    async def confirm(self, call: Call, language: str) -> Answer:
        product = await self._called(call)
        return with_form("add.html", call, language, product=product) if product else missing(call.asked)

    async def add(self, call: Call, language: str) -> Answer:
        product = await self._called(call)
        if product is None:
            return missing(call.asked)
        try:
            await self._wishes.keep(call.visitor.subject, product)
        except Full:
            return full(call.asked, language)
        return answer.sent_on(f"/{language}/wishlist/", language)

    async def remove(self, call: Call, language: str) -> Answer:
        digits = call.asked.captured["product"]
        if len(digits) < 19:
            await self._wishes.drop(call.visitor.subject, int(digits))
        return answer.sent_on(f"/{language}/wishlist/", language)

    async def _called(self, call: Call) -> Product | None:
        return await self._catalog.called(call.asked.captured["slug"])


class Page:
    """Answers every method at the address of a page; whoever is not logged in is sent to where one does that."""

    def __init__(self, methods: Mapping[str, Answering], site: Site, guard: csrf.Site) -> None:
        self._methods = {**methods, **({"HEAD": methods["GET"]} if "GET" in methods else {})}
        self._site = site
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        told = await self._told(scope, receive)
        await told.send(send, head=scope["method"] == "HEAD")

    async def _told(self, scope: Scope, receive: Receive) -> Answer:
        language = scope["path_params"]["language"]
        try:
            asked = Asked.of(scope, self._site)
            return await self._answered(asked, receive, language)
        except Stranger:
            return answer.stranger()
        except Malformed:
            return answer.malformed(language)

    async def _answered(self, asked: Asked, receive: Receive, language: str) -> Answer:
        if asked.method not in self._methods:
            told = answer.personal_page(405, b"", language)
            return replace(told, headers={**told.headers, "Allow": ", ".join(sorted(self._methods))})
        visitor = current()
        # A token is for the API; on a page it makes nobody a visitor, as on the shop's other pages.
        if visitor is None or visitor.via != "session":
            return self._to_login(asked, language)
        try:
            call = Call(asked=asked, visitor=visitor, body=await body_of(receive))
            call.guard(self._guard)
            return await self._methods[asked.method](call, language)
        except Refused as refused:
            return answer.personal_page(refused.status, b"", language)
        except csrf.Forged:
            return forged(asked, language)
        except Unavailable as gone:
            problem.of(gone)  # writes down who is away
            return away(asked, language)

    def _to_login(self, asked: Asked, language: str) -> Answer:
        # The login leads back with a GET, which not every address knows.
        back = asked.target if "GET" in self._methods else f"/{language}/wishlist/"
        return answer.sent_on(f"/{language}/account/login/?next={quote(back)}", language)


def with_form(template: str, call: Call, language: str, **context: object) -> Answer:
    """Return a page with forms: they repeat the secret of the visitor's cookie, who gets one where there is none."""
    kept = call.visitor.csrf
    secret = csrf.secret_of(kept) if kept else cookies(call.asked).get(csrf.COOKIE, "")
    headers = {}
    if not csrf.masked(secret):
        secret = csrf.fresh()
        secure = "; Secure" if call.asked.scheme == "https" else ""
        headers["Set-Cookie"] = f"{csrf.COOKIE}={secret}; Max-Age={_YEAR_S}; Path=/; SameSite=Lax{secure}"
    token = Markup('<input type="hidden" name="{}" value="{}">').format(csrf.FIELD, csrf.masked(secret))
    body = rendered(template, call.asked, language, token=token, **context)
    return answer.personal_page(200, body, language, headers=headers)


def missing(asked: Asked) -> Answer:
    """Return the page that says that there is nothing."""
    language = of_path(asked.path)
    return _said(404, asked, language, "Not found", "There is nothing at this address.")


def full(asked: Asked, language: str) -> Answer:
    """Return the page that says that nothing more can be kept."""
    text = said(language, "It holds at most %(most)s products. Remove one first.", most=MOST)
    return _said(400, asked, language, "Your wish list is full", text, "To my wish list", f"/{language}/wishlist/")


def forged(asked: Asked, language: str) -> Answer:
    """Return the page for a form that another site may have sent."""
    text = "Please go back, reload the page and try again."
    return _said(403, asked, language, "This did not come from the shop's pages", text)


def away(asked: Asked, language: str) -> Answer:
    """Return the page that says that something this service needs does not answer."""
    told = _said(503, asked, language, "This cannot be done just now", "Please come back in a moment.")
    return replace(told, headers={**told.headers, "Retry-After": "1"})


def _said(
    status: int,
    asked: Asked,
    language: str,
    title: str,
    text: str,
    link: str = "To the front page",
    target: str = "",
) -> Answer:
    words = {"title": said(language, title), "text": said(language, text), "link": said(language, link)}
    body = rendered("said.html", asked, language, target=target or f"/{language}/", **words)
    return answer.personal_page(status, body, language)
