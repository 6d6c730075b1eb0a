"""From the files that a team writes to a ``Project``, or to every problem at once."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, Final

from strangler.capability import Stack
from strangler.project.bounds import limits_of, shed_of, timeouts_of
from strangler.project.entrance import NETWORKS, check_network, listen_of, networks_of, plain_of, socket_mode_of, tls_of
from strangler.project.manage import manage_of
from strangler.project.named import KINDS, names_of, refuse_shared
from strangler.project.protect import protect_of, reach_of
from strangler.project.rates import check_capabilities, rates_of
from strangler.project.reacting import reactions_of, refuse_unheard
from strangler.project.referred import TABLE, bare, referred_of, refuse_untold
from strangler.project.section import (
    METHOD,
    NAME,
    NAME_WANTED,
    Check,
    Environment,
    Section,
    mask,
    read,
    reason_of,
    shown,
)
from strangler.project.team import team_of
from strangler.project.tracing import tracing_of
from strangler.project.values import (
    CapabilityFiles,
    Control,
    Identity,
    Problem,
    Project,
    ProjectInvalid,
    Proxy,
    Secret,
    Sync,
    TableMapping,
    Upstream,
)
from strangler.routing.address import parse_endpoint
from strangler.routing.cohort import TOKEN, Cohort, Source
from strangler.routing.keys import MIN_SECRET
from strangler.routing.table import MONOLITH, Kind, Route

# As shells and dotenv files write it; quotes around the whole value are not part of it.
_ASSIGNMENT: Final = re.compile(r"""(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(["']?)(.*)\2""")
_KIND: Final = re.compile("|".join(Kind))
_RESERVED: Final = re.compile(r"/\.strangler/[A-Za-z0-9._~/-]{1,200}")
_PERMISSION: Final = re.compile(r"\w+\.\w+")
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+")
_HEADER: Final = re.compile(rf"\s*({TOKEN.pattern})\s*:\s*(\S.*)")
_ENDPOINTS: Final = 'addresses such as ["http://127.0.0.1:8001"], ["https://shop.internal"] or ["unix:/run/shop.sock"]'
_POSTGRES: Final = 'a variable holding a postgresql:// URL, as in "$NAME"'
_DATABASE: Final = f"{_POSTGRES}; left out for any other database: routing only"
_REDIS: Final = 'a variable holding a redis:// URL, as in "$NAME"'
_STACK: Final = re.compile("|".join(Stack))
_KEY: Final = 'the key\'s columns, as in { id = "id" } (target = source)'
_COOKIE: Final = 'the name of the session cookie such as "sessionid"'
_ASKING: Final = 'a path below /.strangler/, where urls.py has strangler_django, such as "/.strangler/identity/"'
_PERMISSIONS: Final = 'permissions such as ["app.change_model"]'
_SHARED_FILES: Final = 'columns of the source whose files both stacks reach, such as ["image"]'
_ACKNOWLEDGED: Final = 'columns of the source that need not come back as they were, such as ["price"]'
_RETENTION: Final = "bytes of WAL, 100,000,000 at least"
_VERIFY_INTERVAL: Final = "seconds, 60 to 31,536,000 (a year)"
_SIGNING: Final = f'a variable holding at least {MIN_SECRET} random bytes, as in "$NAME"'


def load(path: Path, env: Mapping[str, str] = os.environ) -> Project:
    """Return the project whose installation file is ``path``.

    Variables come from ``env``, then from the file that ``env_file`` names, if it exists. Raises ``ProjectInvalid``
    with every problem that the files have.
    """
    problems: list[Problem] = []
    root = path.parent.resolve()
    if not path.exists():
        raise ProjectInvalid((Problem(file=str(path), key="", found="no such file", wanted=_elsewhere(path, root)),))
    top = read(path, path.name, Environment(env), problems)
    if problems:
        raise ProjectInvalid(tuple(problems))
    top.environment = _environment(top, root, env)
    services = _services(top)
    monolith = top.section("monolith")
    project = Project(
        root=root,
        manage=manage_of(monolith),
        monolith=_upstream(monolith, MONOLITH),
        services=services,
        control=_control(top.section("control")),
        proxy=_proxy(top.section("proxy"), root),
        identity=_identity(top),
        sync=_sync(top.section("sync")),
        capabilities=_capabilities(top, root, services),
    )
    check_capabilities(top, project.proxy.rates, project.capabilities)
    top.close()
    if problems:
        raise ProjectInvalid(tuple(problems))
    return project


def _elsewhere(path: Path, root: Path) -> str:
    """Return what to do where there is no file: it may be in a folder above."""
    above = next((folder for folder in root.parents if (folder / path.name).is_file()), None)
    there = "" if above is None else f", as in --project {os.path.relpath(above / path.name)}"
    return f"the installation's file; name it with --project{there}, or write it (docs/reference/configuration.md)"


def _environment(top: Section, root: Path, env: Mapping[str, str]) -> Environment:
    name = top.text("env_file", "the path of a file with NAME=value lines", default="")
    if not name:
        return Environment(env)
    try:
        lines = (root / name).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:  # it is for one's own machine; where there is none, the environment has everything
        return Environment(env, lacking=mask(name))
    except (OSError, UnicodeDecodeError) as exc:
        reason = (
            "cannot be read as UTF-8" if isinstance(exc, UnicodeDecodeError) else f"cannot be read: {reason_of(exc)}"
        )
        top.problem("env_file", f"{mask(name)}, which {reason}", "a file with NAME=value lines")
        return Environment(env)
    return Environment(env, _variables(top, name, lines))


def _variables(top: Section, name: str, lines: list[str]) -> dict[str, str]:
    variables: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        match = _ASSIGNMENT.fullmatch(line.strip())
        if match is not None:
            variables[match[1]] = match[3]
        elif line.strip() and not line.lstrip().startswith("#"):
            top.problem("env_file", f"line {number} of {mask(name)}, which is no NAME=value", "NAME=value")
    return variables


def _services(top: Section) -> dict[str, Upstream]:
    table = top.section("service")
    services: dict[str, Upstream] = {}
    for name in table.values:
        if name == MONOLITH or not NAME.fullmatch(name):
            table.problem("", f"a service named {name!r}", f"a name of {NAME_WANTED}, other than {MONOLITH!r}")
        services[name] = _upstream(table.section(name), name)
    return services


def _upstream(section: Section, name: str) -> Upstream:
    endpoints = section.texts("endpoints", _ENDPOINTS, check=parse_endpoint)
    upstream = Upstream(
        name=name,
        endpoints=endpoints,
        database=section.secret("database", _DATABASE, _is_postgres),
        reach=reach_of(section),
    )
    section.close()
    return upstream


def _control(section: Section) -> Control:
    control = Control(
        database=section.secret("database", _POSTGRES, _is_postgres),
        redis=section.secret("redis", _REDIS, _is_redis),
        secret=section.secret("secret", _SIGNING, _is_long),
        second_secret=section.optional_secret("second_secret", _SIGNING, _is_long),
    )
    section.close()
    return control


def _proxy(section: Section, root: Path) -> Proxy:
    usual = Proxy()
    listen = listen_of(section, usual.listen)
    proxy = Proxy(
        listen=listen,
        admin=plain_of(section, "admin", usual.admin),
        workers=section.number("workers", "a whole number from 1 to 64", usual.workers, 1, 64),
        trusted=networks_of(section, "trusted"),
        state=root / section.text("state", "the path of a folder", default=str(usual.state)),
        access_log=_access_log(section, root),
        proxy_protocol=networks_of(section, "proxy_protocol"),
        socket_mode=socket_mode_of(section, usual.socket_mode),
        tls=tls_of(section, root, listen),
        tracing=tracing_of(section),
        timeouts=timeouts_of(section),
        limits=limits_of(section),
        rates=rates_of(section),
        shed=shed_of(section),
        server_timing=section.flag("server_timing", usual.server_timing),
    )
    section.close()
    return proxy


def _identity(top: Section) -> Identity | None:
    """Return how visitors are asked for; None without the section, which means that nobody asks."""
    section = top.section("identity")
    if "identity" not in top.values:
        return None
    usual = Identity(secret=section.secret("secret", _SIGNING, _is_long))
    identity = Identity(
        secret=usual.secret,
        session_cookie=section.text("session_cookie", _COOKIE, default=usual.session_cookie, check=_like(TOKEN)),
        path=section.text("path", _ASKING, default=usual.path, check=_like(_RESERVED)),
        permissions=section.texts("permissions", _PERMISSIONS, default=(), check=_like(_PERMISSION)),
    )
    section.close()
    return identity


def _sync(section: Section) -> Sync:
    usual = Sync()
    sync = Sync(
        retention=section.number("retention", _RETENTION, usual.retention, 100_000_000, 1 << 60),
        metrics=plain_of(section, "metrics", usual.metrics),
        verify_interval=section.seconds("verify_interval", _VERIFY_INTERVAL, usual.verify_interval, 60, 31_536_000),
    )
    section.close()
    return sync


def _access_log(section: Section, root: Path) -> str | None:
    name = section.text("access_log", 'the path of a file, or "-" for standard output', default="")
    return name if name == "-" else str(root / name) if name else None


def _capabilities(top: Section, root: Path, services: Mapping[str, Upstream]) -> dict[str, CapabilityFiles]:
    wanted = "the path of the folder of capabilities"
    folder = root / top.text(
        "capabilities", wanted, default="migrations", check=lambda name: _check_folder(root / name)
    )
    found: dict[str, CapabilityFiles] = {}
    for path in sorted(folder.glob("*/capability.toml")):
        section = read(path, _shown_path(path, root), top.environment, top.problems)
        tables = _tables(path.parent / "mapping.toml", root, top)
        found[path.parent.name] = _capability(section, path.parent, services, tables)
    _refuse_shared_routes(found, root, top.problems)
    _refuse_shared_tables(found, root, top.problems)
    _refuse_like_names(found, root, top.problems)
    shown_as = {name: _shown_path(each.folder / "capability.toml", root) for name, each in found.items()}
    top.problems.extend(refuse_shared(found, shown_as))
    for each in found.values():
        file = _shown_path(each.folder / "mapping.toml", root)
        top.problems.extend([*refuse_untold(each, found, file), *refuse_unheard(each, found, file)])
    return found


def _shown_path(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _capability(
    section: Section, folder: Path, services: Mapping[str, Upstream], tables: tuple[TableMapping, ...]
) -> CapabilityFiles:
    name = folder.name
    if not NAME.fullmatch(name):
        section.problem("", f"a folder named {name!r}", f"a capability's name: {NAME_WANTED}")
    service = section.text("service", "the name of a [service.NAME] in strangler.toml", check=_one_of(services))
    born = Stack(
        section.text("born", f"one of {', '.join(Stack)}", default=Stack.MONOLITH, check=_like(_STACK))
        or Stack.MONOLITH
    )
    if born is Stack.SERVICE and tables:
        section.problem(
            "born", shown(str(born)), '"monolith", since mapping.toml names tables of it; or no mapping.toml'
        )
    if not section.values.get("route", []):
        section.problem("[[route]]", "nothing", "at least one route")
    routes = tuple(route for each in section.sections("route") if (route := _route(each)))
    cohorts = tuple(cohort for each in section.sections("cohort") if (cohort := _cohort(each, routes)))
    for twice in _repeated(cohort.name for cohort in cohorts):
        section.problem("[[cohort]] name", f"{twice!r} twice", "a name for each")
    protect = protect_of(section.section("protect"))
    tasks, commands, applications = (names_of(section, kind) for kind in KINDS)
    team = team_of(section)
    section.close()
    return CapabilityFiles(
        name=name,
        folder=folder,
        service=service,
        routes=routes,
        cohorts=cohorts,
        tables=tables,
        born=born,
        protect=protect,
        tasks=tasks,
        commands=commands,
        applications=applications,
        team=team,
    )


def _route(section: Section) -> Route | None:
    path = section.text(
        "path", 'a path such as "/api/catalog" or "/{lang}/products"', check=lambda path: Route(path=path)
    )
    methods = section.texts("methods", 'methods in capitals such as ["GET"]', default=(), check=_like(METHOD))
    kind = section.text("kind", '"reads" or "writes"', default="", check=_like(_KIND))
    host = section.text("host", 'a host name such as "shop.example.com", without port', default="", check=_like(_HOST))
    header = section.text("header", 'a header as in "X-Api-Version: 2"', default="", check=_like(_HEADER))
    section.close()
    if not path:
        return None
    match = _HEADER.fullmatch(header)
    return Route(
        path=path,
        methods=frozenset(methods),
        host=host.lower() or None,
        header=(match[1].lower(), match[2].strip()) if match else None,
        kind=Kind(kind) if kind else None,
    )


def _cohort(section: Section, routes: tuple[Route, ...]) -> Cohort | None:
    name = section.text("name", f"the cohort's name: {NAME_WANTED}", check=_like(NAME))
    sources = [source for source in Source if section.has(source)]
    if len(sources) != 1:
        section.has("values")
        section.problem("", " and ".join(sources) or "no source", "exactly one of " + ", ".join(Source))
        section.close()
        return None
    source = sources[0]
    key, values = _networks_of(section) if source is Source.CIDR else _values_of(section, source, routes)
    section.close()
    if not (key or (source is Source.CIDR and values)):
        return None
    return Cohort(name=name, source=source, key=key, values=values)


def _networks_of(section: Section) -> tuple[str, tuple[str, ...]]:
    if section.has("values"):
        section.problem("values", shown(section.values["values"]), "no values: a cidr cohort's networks stand in cidr")
    return "", section.texts(Source.CIDR, NETWORKS, check=check_network)


def _values_of(section: Section, source: Source, routes: tuple[Route, ...]) -> tuple[str, tuple[str, ...]]:
    names = [name for route in routes for name in route.names]
    if source is Source.SEGMENT:
        key = section.text(source, "a {name} that one of the routes has", check=_one_of(names))
    else:
        key = section.text(source, f"the name of a {source}", check=str if source is Source.QUERY else _like(TOKEN))
    values = section.texts("values", "a list of values", default=())
    return key.lower() if source is Source.HEADER else key, values


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1 and name]


def _tables(path: Path, root: Path, top: Section) -> tuple[TableMapping, ...]:
    if not path.exists():
        return ()
    section = read(path, _shown_path(path, root), top.environment, top.problems)
    if not section.values.get("table", []):
        section.problem("[[table]]", "nothing", "at least one table; a capability without tables has no such file")
    references = tuple(_table(each, reference=True) for each in section.sections("reference"))
    tables = references + tuple(_table(each) for each in section.sections("table"))
    section.close()
    for twice in _repeated(bare(table.target) for table in tables):
        section.problem("[[table]] target", f"{twice!r} twice", "one source table for each target")
    for twice in _repeated(bare(table.source) for table in tables if table.reverse):
        wanted = "columns of a source table given back by one of its targets: rows of several cannot be one again"
        section.problem("[[table]] reverse", f"{twice!r} twice", wanted)
    return tables


def _table(section: Section, *, reference: bool = False) -> TableMapping:
    source, target = (_table_name(section, key) for key in ("source", "target"))
    key = _columns(section, "key", _KEY, needed=True)
    table = TableMapping(
        source=source,
        target=target,
        key=key,
        forward=_columns(section, "forward", "target columns, each with SQL over the source row"),
        reverse={} if reference else _columns(section, "reverse", "source columns, each with SQL over the target row"),
        where=section.text("where", "an SQL condition on the source row", default="") or None,
        reference=reference,
        acknowledged=() if reference else section.texts("acknowledged", _ACKNOWLEDGED, default=()),
        shared_files=section.texts("shared_files", _SHARED_FILES, default=()),
        referred_by=referred_of(section, reference=reference),
        reactions=reactions_of(section, reference=reference),
    )
    section.close()
    return table


def _table_name(section: Section, key: str) -> str:
    wanted = f'the {key} table\'s name such as "catalog_product" or "public.catalog_product"'
    return section.text(key, wanted, check=_like(TABLE))


def _columns(section: Section, key: str, wanted: str, *, needed: bool = False) -> dict[str, str]:
    raw: Any = section.values.get(key, {}) if section.has(key) else {}
    good = isinstance(raw, dict) and all(isinstance(value, str) and value.strip() for value in raw.values())
    if not good or (needed and not raw):
        section.problem(key, shown(raw) if key in section.values else "nothing", wanted)
        return {}
    return dict(raw)


def _refuse_shared_routes(found: Mapping[str, CapabilityFiles], root: Path, problems: list[Problem]) -> None:
    everything = [(each, route) for each in found.values() for route in each.routes]
    for (one, route), (other, same) in combinations(everything, 2):
        if route.overlaps(same):
            problems.append(
                Problem(
                    file=_shown_path(other.folder / "capability.toml", root),
                    key="[[route]] path",
                    found=f"{same.path!r}, which {one.name} has too (as {route.path!r})",
                    wanted="a route for one capability only, or conditions that tell them apart",
                )
            )


def _refuse_like_names(found: Mapping[str, CapabilityFiles], root: Path, problems: list[Problem]) -> None:
    """Two names that a database cannot tell apart: slots, publications and fences have no hyphens."""
    by_name: dict[str, str] = {}
    for name, files in found.items():
        other = by_name.setdefault(name.replace("-", "_"), name)
        if other != name:
            problems.append(
                Problem(
                    file=_shown_path(files.folder, root),
                    key="name of the folder",
                    found=repr(name),
                    wanted=f"one that differs from {other} in more than hyphens and underscores",
                )
            )


def _refuse_shared_tables(found: Mapping[str, CapabilityFiles], root: Path, problems: list[Problem]) -> None:
    first: dict[tuple[str, str, str], CapabilityFiles] = {}
    for each in found.values():
        claims = [("source", "monolith", bare(table.source)) for table in each.tables if not table.reference]
        claims += [("target", each.service, bare(table.target)) for table in each.tables]
        for claim in dict.fromkeys(claims):
            other = first.setdefault(claim, each)
            if other is not each:
                problems.append(
                    Problem(
                        file=_shown_path(each.folder / "mapping.toml", root),
                        key=f"[[table]] {claim[0]}",
                        found=f"{claim[2]!r}, which {other.name} maps already",
                        wanted="a table in one capability only: write ownership cannot be shared",
                    )
                )


def _like(pattern: re.Pattern[str]) -> Check:
    def check(text: str) -> None:
        if not pattern.fullmatch(text):
            raise ValueError

    return check


def _one_of(names: Collection[str]) -> Check:
    def check(text: str) -> None:
        if text not in names:
            raise ValueError(f"there: {', '.join(dict.fromkeys(names)) or 'none yet'}")

    return check


def _check_folder(path: Path) -> None:
    try:
        found = path.is_dir()
    except OSError as exc:  # a name that is too long, a folder above that is closed
        raise ValueError(reason_of(exc)) from exc
    if not found:
        raise ValueError("there is no such folder")


def _is_long(secret: str) -> bool:
    return len(secret.encode("utf-8", "surrogatepass")) >= MIN_SECRET


def _is_postgres(text: str) -> bool:
    return text.startswith(("postgresql://", "postgres://"))


def _is_redis(text: str) -> bool:
    return text.startswith(("redis://", "rediss://", "unix://"))


def require(*secrets: Secret) -> None:
    """Raise ``ProjectInvalid`` with the problem of each secret that has no value."""
    problems = tuple(secret.problem for secret in secrets if secret.value is None and secret.problem is not None)
    if problems:
        raise ProjectInvalid(problems)
