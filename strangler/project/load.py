"""From the files that a team writes to a ``Project``, or to every problem at once."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from ipaddress import ip_network
from itertools import combinations
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from strangler.project.section import Environment, Section, read, shown
from strangler.project.values import (
    CapabilityFiles,
    Control,
    Network,
    Problem,
    Project,
    ProjectInvalid,
    Proxy,
    Secret,
    TableMapping,
    Upstream,
)
from strangler.routing.cohort import Cohort, Source
from strangler.routing.keys import MIN_SECRET
from strangler.routing.table import MONOLITH, Kind, Route

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_NAME_WANTED: Final = "lower-case letters, digits, - and _, starting with a letter"
_TABLE: Final = re.compile(r'(?:[^".]+|"[^"]+")(?:\.(?:[^".]+|"[^"]+"))?')
_METHOD: Final = re.compile(r"[A-Z]{3,16}")
_ENDPOINT: Final = 'an address such as "http://127.0.0.1:8001"'
_ENDPOINTS: Final = 'a list of addresses such as ["http://127.0.0.1:8001"]'
_DATABASE: Final = 'a variable holding a postgresql:// URL, as in "$NAME"'
_REDIS: Final = 'a variable holding a redis:// URL, as in "$NAME"'
_LISTEN: Final = 'an address such as "127.0.0.1:8000" or "[::1]:8000"'
_SIGNING: Final = f'a variable holding at least {MIN_SECRET} random bytes, as in "$NAME"'


def load(path: Path, env: Mapping[str, str] = os.environ) -> Project:
    """Return the project whose installation file is ``path``.

    Variables come from ``env``, then from the file that ``env_file`` names, if it exists. Raises ``ProjectInvalid``
    with every problem that the files have.
    """
    problems: list[Problem] = []
    root = path.parent.resolve()
    if not path.exists():
        wanted = "the installation's file; name it with --project"
        raise ProjectInvalid((Problem(file=str(path), key="", found="no such file", wanted=wanted),))
    top = read(path, path.name, Environment(env), problems)
    if problems:
        raise ProjectInvalid(tuple(problems))
    top.environment = Environment({**_env_file(top, root), **env})
    services = _services(top)
    project = Project(
        root=root,
        monolith=_upstream(top.section("monolith"), MONOLITH),
        services=services,
        control=_control(top.section("control")),
        proxy=_proxy(top.section("proxy"), root),
        capabilities=_capabilities(top, root, services),
    )
    top.close()
    if problems:
        raise ProjectInvalid(tuple(problems))
    return project


def _env_file(top: Section, root: Path) -> dict[str, str]:
    name = top.text("env_file", "the path of a file with NAME=value lines", default="")
    path = root / name
    if not name or not path.is_file():
        return {}
    variables: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        key, equals, value = text.partition("=")
        if not equals:
            top.problem("env_file", f"line {number} of {name}, which has no =", "NAME=value")
        variables[key.strip()] = value.strip()
    return variables


def _services(top: Section) -> dict[str, Upstream]:
    table = top.section("service")
    services: dict[str, Upstream] = {}
    for name in table.values:
        if name == MONOLITH or not _NAME.fullmatch(name):
            table.problem("", f"a service named {name!r}", f"a name of {_NAME_WANTED}, other than {MONOLITH!r}")
        services[name] = _upstream(table.section(name), name)
    return services


def _upstream(section: Section, name: str) -> Upstream:
    endpoints = section.texts("endpoints", _ENDPOINTS)
    for endpoint in endpoints:
        if not _is_endpoint(endpoint):
            section.problem("endpoints", shown(endpoint), _ENDPOINT)
    upstream = Upstream(name=name, endpoints=endpoints, database=section.secret("database", _DATABASE, _is_postgres))
    section.close()
    return upstream


def _control(section: Section) -> Control:
    control = Control(
        database=section.secret("database", _DATABASE, _is_postgres),
        redis=section.secret("redis", _REDIS, _is_redis),
        secret=section.secret("secret", _SIGNING, lambda value: len(value.encode()) >= MIN_SECRET),
    )
    section.close()
    return control


def _proxy(section: Section, root: Path) -> Proxy:
    usual = Proxy()
    listen = section.texts("listen", _LISTEN, default=usual.listen)
    admin = section.text("admin", _LISTEN, default=usual.admin)
    for key, address in [*(("listen", each) for each in listen), ("admin", admin)]:
        if address and not _is_address(address):
            section.problem(key, shown(address), _LISTEN)
    proxy = Proxy(
        listen=listen,
        admin=admin,
        workers=section.number("workers", "a whole number from 1 to 64", usual.workers, 1, 64),
        trusted=_networks(section, "trusted"),
        state=root / section.text("state", "the path of a folder", default=str(usual.state)),
        access_log=section.text("access_log", 'the path of a file, or "-" for standard output', default="") or None,
    )
    section.close()
    return proxy


def _networks(section: Section, key: str) -> tuple[Network, ...]:
    networks: list[Network] = []
    for text in section.texts(key, 'networks such as ["10.0.0.0/8"]', default=()):
        try:
            networks.append(ip_network(text))
        except ValueError as exc:
            section.problem(key, str(exc), 'networks such as ["10.0.0.0/8"]')
    return tuple(networks)


def _capabilities(top: Section, root: Path, services: Mapping[str, Upstream]) -> dict[str, CapabilityFiles]:
    folder = root / top.text("capabilities", "the path of the folder of capabilities", default="migrations")
    found: dict[str, CapabilityFiles] = {}
    for path in sorted(folder.glob("*/capability.toml")):
        shown_as = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
        found[path.parent.name] = _capability(read(path, shown_as, top.environment, top.problems), path, services)
    _refuse_shared_routes(found, top.problems)
    _refuse_shared_tables(found, top.problems)
    return found


def _capability(section: Section, path: Path, services: Mapping[str, Upstream]) -> CapabilityFiles:
    name = path.parent.name
    if not _NAME.fullmatch(name):
        section.problem("", f"a folder named {name!r}", f"a capability's name: {_NAME_WANTED}")
    service = section.text("service", "the name of a [service.NAME] in strangler.toml")
    if service and service not in services:
        known = ", ".join(services) or "none yet"
        section.problem("service", shown(service), f"a [service.NAME] of strangler.toml (there: {known})")
    routes = tuple(route for each in section.sections("route") if (route := _route(each)))
    if not routes and "route" not in section.values:
        section.problem("[[route]]", "nothing", "at least one route")
    cohorts = tuple(cohort for each in section.sections("cohort") if (cohort := _cohort(each, routes)))
    for one, other in combinations(cohorts, 2):
        if one.name == other.name:
            section.problem("[[cohort]] name", f"{one.name!r} twice", "a name for each")
    section.close()
    return CapabilityFiles(
        name=name,
        folder=path.parent,
        service=service,
        routes=routes,
        cohorts=cohorts,
        tables=_tables(section, path.parent / "mapping.toml"),
    )


def _route(section: Section) -> Route | None:
    path = section.text("path", 'a path such as "/api/catalog" or "/{lang}/products"')
    methods = section.texts("methods", 'methods such as ["GET", "POST"]', default=())
    for method in methods:
        if not _METHOD.fullmatch(method):
            section.problem("methods", shown(method), "a method in capitals")
    kind = section.text("kind", '"reads" or "writes"', default="")
    if kind not in ("", *Kind):
        section.problem("kind", shown(kind), '"reads" or "writes"')
        kind = ""
    host = section.text("host", 'a host name such as "shop.example.com"', default="").lower()
    if ":" in host or "/" in host:
        section.problem("host", shown(host), "a host name without scheme and port")
    header = _header(section)
    section.close()
    if not path:
        return None
    try:
        return Route(
            path=path,
            methods=frozenset(methods),
            host=host or None,
            header=header,
            kind=Kind(kind) if kind else None,
        )
    except ValueError as exc:
        section.problem("path", f"{shown(path)} ({exc})", 'a path such as "/api/catalog" or "/{lang}/products"')
        return None


def _header(section: Section) -> tuple[str, str] | None:
    wanted = 'a header as in "X-Api-Version: 2"'
    text = section.text("header", wanted, default="")
    name, colon, value = text.partition(":")
    if text and not (colon and name.strip() and value.strip()):
        section.problem("header", shown(text), wanted)
        return None
    return (name.strip().lower(), value.strip()) if text else None


def _cohort(section: Section, routes: tuple[Route, ...]) -> Cohort | None:
    name = section.text("name", f"the cohort's name: {_NAME_WANTED}")
    if name and not _NAME.fullmatch(name):
        section.problem("name", shown(name), _NAME_WANTED)
    sources = [source for source in Source if section.has(source)]
    values = section.texts("values", "a list of values", default=())
    if len(sources) != 1:
        section.problem("", f"{len(sources)} sources", "exactly one of " + ", ".join(Source))
        section.close()
        return None
    source = sources[0]
    key = ""
    if source is Source.CIDR:
        values = section.texts("cidr", 'networks such as ["10.0.0.0/8"]')
    else:
        key = section.text(source, f"the name of a {source}")
    if source is Source.SEGMENT and not any(key in route.names for route in routes):
        section.problem("segment", shown(key), "a {name} that one of the routes has")
    section.close()
    try:
        return Cohort(name=name, source=source, key=key.lower() if source is Source.HEADER else key, values=values)
    except ValueError as exc:
        section.problem(source, str(exc), 'networks such as ["10.0.0.0/8"]')
        return None


def _tables(capability: Section, path: Path) -> tuple[TableMapping, ...]:
    if not path.exists():
        return ()
    shown_as = capability.file.replace("capability.toml", "mapping.toml")
    section = read(path, shown_as, capability.environment, capability.problems)
    tables = tuple(_table(each) for each in section.sections("table"))
    section.close()
    targets = [table.target for table in tables]
    for target in dict.fromkeys(target for target in targets if targets.count(target) > 1):
        section.problem("[[table]] target", f"{target!r} twice", "one source table for each target")
    return tables


def _table(section: Section) -> TableMapping:
    source, target = (_table_name(section, key) for key in ("source", "target"))
    key = _columns(section, "key", 'the key\'s columns, as in { id = "id" } (target = source)', needed=True)
    table = TableMapping(
        source=source,
        target=target,
        key=key,
        forward=_columns(section, "forward", "target columns, each with SQL over the source row"),
        reverse=_columns(section, "reverse", "source columns, each with SQL over the target row"),
        where=section.text("where", "an SQL condition on the source row", default="") or None,
    )
    section.close()
    return table


def _table_name(section: Section, key: str) -> str:
    name = section.text(key, f"the {key} table's name")
    if name and not _TABLE.fullmatch(name):
        section.problem(key, shown(name), 'a table\'s name such as "catalog_product" or "public.catalog_product"')
    return name


def _columns(section: Section, key: str, wanted: str, *, needed: bool = False) -> dict[str, str]:
    raw: Any = section.values.get(key, {}) if section.has(key) else {}
    good = isinstance(raw, dict) and all(isinstance(value, str) and value.strip() for value in raw.values())
    if not good or (needed and not raw):
        section.problem(key, shown(raw) if key in section.values else "nothing", wanted)
        return {}
    return dict(raw)


def _refuse_shared_routes(found: Mapping[str, CapabilityFiles], problems: list[Problem]) -> None:
    everything = [(name, route) for name, each in found.items() for route in each.routes]
    for (one, route), (other, same) in combinations(everything, 2):
        if route.overlaps(same):
            problems.append(
                Problem(
                    file=f"migrations/{other}/capability.toml",
                    key="[[route]] path",
                    found=f"{same.path!r}, which {one} has too (as {route.path!r})",
                    wanted="a route for one capability only, or conditions that tell them apart",
                )
            )


def _refuse_shared_tables(found: Mapping[str, CapabilityFiles], problems: list[Problem]) -> None:
    owner: dict[str, str] = {}
    for name, each in found.items():
        for source in dict.fromkeys(table.source.removeprefix("public.") for table in each.tables):
            first = owner.setdefault(source, name)
            if first != name:
                problems.append(
                    Problem(
                        file=f"migrations/{name}/mapping.toml",
                        key="[[table]] source",
                        found=f"{source!r}, which {first} maps already",
                        wanted="a table in one capability only: write ownership cannot be shared",
                    )
                )


def _is_endpoint(text: str) -> bool:
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        return False
    plain = not url.path.strip("/") and not url.query and not url.fragment and url.username is None
    return url.scheme == "http" and bool(url.hostname) and port != 0 and plain


def _is_address(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and port.isdecimal() and 0 < int(port) < 65536


def _is_postgres(text: str) -> bool:
    return text.startswith(("postgresql://", "postgres://"))


def _is_redis(text: str) -> bool:
    return text.startswith(("redis://", "rediss://", "unix://"))


def require(*secrets: Secret) -> None:
    """Raise ``ProjectInvalid`` with the problem of each secret that has no value."""
    problems = tuple(secret.problem for secret in secrets if secret.value is None and secret.problem is not None)
    if problems:
        raise ProjectInvalid(problems)
