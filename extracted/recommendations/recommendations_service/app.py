"""The one route of the recommendations."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Final

from starlette.applications import Starlette

from recommendations_service.catalog import Catalog
from recommendations_service.recommend import rank, shown
from strangler.service import Chassis, answer
from strangler.service.answer import Answer, Refused
from strangler.service.asked import Asked, Site
from strangler.service.client import Client
from strangler.service.identity import Verifier
from strangler.service.log import RequestLog
from strangler.service.problem import SHAPES
from strangler.service.resource import Elsewhere, Exact, Resource

_VERSIONS: Final = ("1", "2")


def build(client: Client, site: Site, requests: RequestLog, verifier: Verifier | None) -> Chassis:
    """Wire the whole application; ``client`` asks the catalog, and is open during the application's lifespan."""
    asks = Questions(Catalog(client))
    routes = [Exact("/api/recommendations/{id:digits}/", Resource(asks.like, site, _VERSIONS))]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    app = Starlette(routes=routes, exception_handlers=dict(SHAPES), lifespan=lifespan)
    app.router.redirect_slashes = False
    app.router.default = Elsewhere(routes, site)
    document = json.loads(files("recommendations_service").joinpath("openapi.json").read_bytes())
    return Chassis(app, name="recommendations", openapi=document, requests=requests, identity=verifier)


class Questions:
    """What the route answers to a GET."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def like(self, asked: Asked) -> Answer:
        product = await self._catalog.product(asked.captured["id"])
        if product is None:
            raise Refused(404, {"detail": "Not found."})
        ranked = rank(product, await self._catalog.beside(product))
        return answer.found({"product": product.id, "results": [shown(each, asked.version) for each in ranked]})
