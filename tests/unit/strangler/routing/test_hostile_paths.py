"""Paths that servers read in different ways, and what exactly becomes of each."""

from __future__ import annotations

from typing import Final

import pytest

from strangler.capability import WHOLE, Data, State
from strangler.routing.decide import Ambiguous, decide
from strangler.routing.table import Capability, Route, RoutingTable
from tests.fixtures.facts import Asked

REFUSED: Final = "refused"
CATALOG, ORDERS, NONE = "catalog", "orders", None

TABLE = RoutingTable(
    version=1,
    upstreams=dict.fromkeys(("monolith", "catalog", "orders"), ("http://127.0.0.1:1",)),
    capabilities=tuple(
        Capability(name=name, service=name, routes=routes, state=State(data=Data.NONE, share=WHOLE))
        for name, routes in {
            "catalog": (Route(path="/api/catalog"), Route(path="/{lang}/products")),
            "orders": (Route(path="/api/orders"),),
        }.items()
    ),
)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        # nothing is the matter with these
        (b"/api/catalog", CATALOG),
        (b"/api/catalog/", CATALOG),
        (b"/api/catalogue", NONE),
        (b"/api/catalog.json", NONE),
        (b"/de/products/k%C3%A4se", CATALOG),
        (b"/files/a%2Fb", NONE),
        (b"/api/catalog/a%2Fb", CATALOG),
        (b"/api/catalog/50%25", CATALOG),
        (b"/api/catalog/what%3F", CATALOG),
        (b"*", NONE),
        (b"", NONE),
        # slashes
        (b"//api/catalog", CATALOG),
        (b"/api//catalog", CATALOG),
        (b"/api/catalog//", CATALOG),
        (b"/api%2fcatalog", REFUSED),
        (b"/api%2Fcatalog/7", REFUSED),
        (b"/%2fapi/catalog", REFUSED),
        (b"/x/..%2fapi%2fcatalog", REFUSED),
        # dots
        (b"/./api/./catalog", CATALOG),
        (b"/api/catalog/.", CATALOG),
        (b"/api/catalog/x/..", CATALOG),
        (b"/api/catalog/../orders", REFUSED),
        (b"/api/orders/../catalog", REFUSED),
        (b"/x/../api/catalog", REFUSED),
        (b"/../api/catalog", REFUSED),
        (b"/api/catalog/..", REFUSED),
        (b"/api/catalog/...", CATALOG),
        (b"/api/%2e/catalog", CATALOG),
        (b"/api/catalog/%2e%2e/orders", REFUSED),
        (b"/api/catalog/.%2E/orders", REFUSED),
        (b"/api/catalog/..%2forders", REFUSED),
        (b"/api/catalog/x//../../orders", REFUSED),
        (b"/api/catalog/x/../y", CATALOG),
        # encoded more than once
        (b"/api/c%61talog", CATALOG),
        (b"/api/c%2561talog", REFUSED),
        (b"/api/catalog/%252e%252e/orders", REFUSED),
        (b"/api/catalog/%252e%252e%252forders", REFUSED),
        (b"/api/catalog/..%252forders", REFUSED),
        (b"/api/catalog/%25252e%25252e%25252forders", CATALOG),
        (b"/api%252fcatalog", REFUSED),
        # malformed escapes
        (b"/api/catalog/%", CATALOG),
        (b"/api/catalog/%zz", CATALOG),
        (b"/api/c%6", NONE),
        (b"/api/%%36%33atalog", REFUSED),
        # backslashes
        (b"/api\\catalog", REFUSED),
        (b"\\api\\catalog", REFUSED),
        (b"/api/catalog\\..\\orders", REFUSED),
        (b"/api/catalog/..\\orders", REFUSED),
        (b"/api/catalog/..%5corders", REFUSED),
        (b"/api/catalog/..%255corders", REFUSED),
        (b"/api/catalog/a\\b", CATALOG),
        # parameters
        (b"/api/catalog;v=1", REFUSED),
        (b"/api/catalog;v=1/7", REFUSED),
        (b"/api/catalog/7;v=1", CATALOG),
        (b"/api;x/catalog", REFUSED),
        (b"/api/catalog/..;/orders", REFUSED),
        (b"/api/catalog/..;x=1/orders", REFUSED),
        (b"/api/catalog/%2e%2e;/orders", REFUSED),
        (b"/api/catalog/..%3b/orders", REFUSED),
        (b"/api/catalog/..;x\\..\\/orders", REFUSED),
        # one server puts it in order, the next decodes it
        (b"/api/catalog/x;%2fy/..%2f..%2forders", REFUSED),
        (b"/api/catalog/x;%255cy/..%255c..%255corders", REFUSED),
        (b"/api/catalog/p%5cq\\..\\..%2forders", REFUSED),
        (b"/de/products/../../api%2forders%2f..%2f..%2fx/products", REFUSED),
        # what ends a path somewhere
        (b"/api/catalog\0", REFUSED),
        (b"/api/catalog%00", REFUSED),
        (b"/api/catalog%00.html", REFUSED),
        (b"/api/catalog%2500", REFUSED),
        (b"/api/catalog/7%00", CATALOG),
        (b"/api/orders%00/../catalog", REFUSED),
        (b"/api/catalog%3f", REFUSED),
        (b"/api/catalog%23", REFUSED),
        (b"/api/orders%3f/../../api/catalog", REFUSED),
        # letters, overlong UTF-8, and what only looks alike: no server in use reads a slash or dot here
        (b"/API/CATALOG", NONE),
        (b"/api/Catalog", NONE),
        (b"/api%c0%afcatalog", NONE),
        (b"/api/catalog/%c0%ae%c0%ae/orders", CATALOG),
        (b"/api/catalog/%e0%80%ae%e0%80%ae/orders", CATALOG),
        (b"/api/catalog/\xc0\xae\xc0\xae\xc0\xaforders", CATALOG),
        (b"/api/catalog/%ef%bc%8e%ef%bc%8e/orders", CATALOG),
        (b"/api\xef\xbc\x8fcatalog", NONE),
        (b"/api/catalog%20", NONE),
        (b"/api/catalog+", NONE),
        (b"/api/\xff\xfe", NONE),
        # not the origin's own path at all
        (b"//evil.example/api/catalog", NONE),
        (b"/http:/api/catalog", NONE),
        (b"/api/catalog/http://evil.example/", CATALOG),
        (b"api/catalog", CATALOG),
        (b"../api/catalog", REFUSED),
    ],
)
def test_a_hostile_path_is_routed_right_or_refused(path: bytes, expected: str | None) -> None:
    found = decide(TABLE, Asked(path=path))
    assert (REFUSED if isinstance(found, Ambiguous) else found.capability) == expected
