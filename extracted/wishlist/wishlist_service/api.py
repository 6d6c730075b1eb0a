"""The API of the wish list: each visitor has one, and sees no other."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from strangler.service import answer, csrf
from strangler.service.answer import Answer, Refused
from strangler.service.asked import Asked, Malformed, Site, Stranger
from strangler.service.conditions import Conditions
from strangler.service.identity import current
from strangler.service.page import PageAsked
from wishlist_service.call import Call, body_of
from wishlist_service.catalog import MOST as MOST_ID
from wishlist_service.catalog import Catalog, Product
from wishlist_service.wishes import MOST, Full, Wish, Wishes

_VERSIONS: Final = ("1", "2")
_NOT_FOUND: Final = {"detail": "Not found."}
_NO_VERSION: Final = {"detail": 'Invalid version in "Api-Version" header.'}
_NOBODY: Final = {"detail": "Authentication credentials were not provided."}
_CHALLENGE: Final = {"WWW-Authenticate": "Token"}
_FULL: Final = {"product": [f"A wish list holds at most {MOST} products."]}
_INTEGER: Final = re.compile(r"\s*-?[0-9]{1,100}\s*", re.ASCII)

Answering = Callable[[Call], Awaitable[tuple[int, object]]]


class Api:
    """What each method answers, as status and data."""

    def __init__(self, wishes: Wishes, catalog: Catalog) -> None:
        self._wishes = wishes
        self._catalog = catalog

    async def listed(self, call: Call) -> tuple[int, object]:
        page = PageAsked.of(call.asked)
        count, wishes = await self._wishes.page(call.visitor.subject, page)
        return 200, page.of_total(count).around([shown(each) for each in wishes], call.asked)

    async def add(self, call: Call) -> tuple[int, object]:
        id_ = _product_in(call.data())
        product = await self._catalog.product(id_)
        if product is None:
            raise Refused(400, {"product": [f'Invalid pk "{id_}" - object does not exist.']})
        return await self._kept(call, product)

    async def one(self, call: Call) -> tuple[int, object]:
        wish = await self._wishes.one(call.visitor.subject, _id_in(call.asked))
        if wish is None:
            raise Refused(404, _NOT_FOUND)
        return 200, shown(wish)

    async def keep(self, call: Call) -> tuple[int, object]:
        product = await self._catalog.product(_id_in(call.asked))
        if product is None:
            raise Refused(404, _NOT_FOUND)
        return await self._kept(call, product)

    async def drop(self, call: Call) -> tuple[int, object]:
        await self._wishes.drop(call.visitor.subject, _id_in(call.asked))
        return 204, None

    async def _kept(self, call: Call, product: Product) -> tuple[int, object]:
        try:
            wish, is_fresh = await self._wishes.keep(call.visitor.subject, product)
        except Full as error:
            raise Refused(400, _FULL) from error
        return 201 if is_fresh else 200, shown(wish)


class Resource:
    """Answers every method at one address; the order of its refusals is that of Django REST framework."""

    def __init__(self, methods: Mapping[str, Answering], site: Site, guard: csrf.Site) -> None:
        self._methods = {**methods, "HEAD": methods["GET"]}
        self._allow = ", ".join(sorted(self._methods))
        self._site = site
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        told = await self._told(scope, receive)
        await told.send(send, head=scope["method"] == "HEAD")

    async def _told(self, scope: Scope, receive: Receive) -> Answer:
        try:
            asked = Asked.of(scope, self._site)
            status, data = await self._answered(asked, receive)
        except Stranger:
            return answer.stranger()
        except Malformed:
            return answer.malformed(None)
        except Refused as refused:
            headers = _CHALLENGE if refused.status == 401 else None
            return answer.personal(refused.status, refused.data, allow=self._allow, headers=headers)
        told = answer.personal(status, data, allow=self._allow)
        return answer.under(told, Conditions.of(asked.headers)) if asked.method == "GET" else told

    async def _answered(self, asked: Asked, receive: Receive) -> tuple[int, object]:
        if asked.version not in _VERSIONS:
            raise Refused(406, _NO_VERSION)
        visitor = current()
        if visitor is None:
            raise Refused(401, _NOBODY)
        call = Call(asked=asked, visitor=visitor, body=await body_of(receive))
        try:
            call.guard(self._guard)
        except csrf.Forged as forged:
            raise Refused(403, {"detail": f"CSRF Failed: {forged}."}) from forged
        if asked.method not in self._methods:
            raise Refused(405, {"detail": f'Method "{asked.method}" not allowed.'})
        return await self._methods[asked.method](call)


def shown(wish: Wish) -> dict[str, object]:
    """Return a wish as readers of the API see it."""
    return {
        "product": wish.product,
        "slug": wish.slug,
        "name": wish.name,
        "image": wish.image,
        "kept_at": wish.kept_at.isoformat().replace("+00:00", "Z"),
    }


def _id_in(asked: Asked) -> int:
    digits = asked.captured["product"].lstrip("0")
    # Whatever is longer than a bigint is nobody's id, and 0 neither.
    id_ = int(digits or "0") if len(digits) < 20 else 0
    return id_ if id_ <= MOST_ID else 0


def _product_in(data: Any) -> int:
    """Return the id in what was sent; raises ``Refused`` with what is wrong with it."""
    if not isinstance(data, dict):
        kind = type(data).__name__
        raise Refused(400, {"non_field_errors": [f"Invalid data. Expected a dictionary, but got {kind}."]})
    if "product" not in data:
        raise Refused(400, {"product": ["This field is required."]})
    given = data["product"]
    if given is None:
        raise Refused(400, {"product": ["This field may not be null."]})
    if isinstance(given, bool) or not isinstance(given, int | str) or _INTEGER.fullmatch(str(given)) is None:
        raise Refused(400, {"product": ["A valid integer is required."]})
    return int(given)
