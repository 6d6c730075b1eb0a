"""The reference of the admin port has its addresses, and no others."""

from __future__ import annotations

import re
from pathlib import Path

from starlette.routing import Route

from strangler_proxy.admin import admin
from strangler_proxy.supervisor import Supervisor

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "admin.md"


def test_every_address_is_in_the_reference_and_nothing_else() -> None:
    routes = {route.path for route in admin(Supervisor(())).routes if isinstance(route, Route)}
    assert set(re.findall(r"^\| `(/[^`]+)` \|", PAGE.read_text(), flags=re.MULTILINE)) == routes
