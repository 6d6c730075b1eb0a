"""What the monolith promises: its URL patterns and its API's description, in each version of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final, Protocol

from strangler.project import Project
from strangler.regression.surface import Page, Surface
from strangler.routing.table import RoutingTable
from tests.fixtures.shop import MONOLITH
from tests.regression.people import Runs

# Run inside the monolith, which alone knows: the toolkit imports nothing of it.
_SCRIPT: Final = r"""
import json
from django.contrib.admindocs.views import simplify_regex
from django.urls import LocalePrefixPattern, URLPattern, get_resolver
from drf_spectacular.settings import spectacular_settings
from shop.api import HeaderVersioning

def walk(patterns, before):
    for each in patterns:
        own = "[a-z-]+/" if isinstance(each.pattern, LocalePrefixPattern) else each.pattern.regex.pattern
        regex = before + own.removeprefix("^")
        if isinstance(each, URLPattern):
            yield regex, each.name or ""
        else:
            yield from walk(each.url_patterns, regex)

def shown(regex):
    told = simplify_regex(regex.replace("[a-z-]+/", "(?P<lang>[a-z-]+)/", 1))
    return told.replace("<", "{").replace(">", "}")

Generator = spectacular_settings.DEFAULT_GENERATOR_CLASS
print(json.dumps({
    "patterns": [[shown(regex), f"^{regex}", name] for regex, name in walk(get_resolver().url_patterns, "")],
    "documents": [Generator(api_version=each).get_schema(public=True) for each in HeaderVersioning.allowed_versions],
}, default=str))
"""


class Shop(Runs, Protocol):
    """A shop, and the project whose monolith it is."""

    project: Project


def surfaces(shop: Shop) -> dict[str, Surface]:
    """Return what the monolith promises under the routes of each capability."""
    told = json.loads(shop.run(["manage.py", "shell", "--verbosity=0", "-c", _SCRIPT], MONOLITH))
    pages = [Page(shown=shown, pattern=pattern, name=name) for shown, pattern, name in told["patterns"]]
    owners = _Owners(shop.project)
    return {name: Surface.of(told["documents"], pages, owners.is_of(name)) for name in shop.project.capabilities}


class _Owners:
    """Whose a path is, by the routes of all capabilities: the longer one counts."""

    def __init__(self, project: Project) -> None:
        capabilities = tuple(each.routed(each.first_state) for each in project.capabilities.values())
        upstreams = {"monolith": ("http://m",), **dict.fromkeys(project.services, ("http://s",))}
        self._table = RoutingTable(version=0, upstreams=upstreams, capabilities=capabilities)

    def is_of(self, capability: str) -> Callable[[str], bool]:
        return lambda path: self._of(path) == capability

    def _of(self, path: str) -> str | None:
        found = self._table.find(tuple(part for part in path.split("/") if part), lambda _: True)
        return found[0].name if found else None
