"""Everything that a project's files promise, tried: every problem at once, each with what would do."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final
from urllib.parse import unquote

import httpx
import psycopg
import redis
from psycopg.conninfo import conninfo_to_dict

from strangler import asking
from strangler.ledger import Ledger, LedgerError, NotInstalled, Publication
from strangler.ledger.ledger import definition_of
from strangler.project import CapabilityFiles, Manage, Project, ProjectInvalid, Secret, Upstream
from strangler.project.values import Control, Identity, Tls, Tracing
from strangler.routing.address import parse_endpoint
from strangler.routing.keys import Keys
from strangler.routing.table import is_sealed
from strangler.sync import backfill
from strangler.sync.check import WHERE, concerns, mapped
from strangler.sync.errors import SyncError
from strangler.sync.manage import ask
from strangler.sync.pending import Listing

# A server that needs longer to say anything at all is as good as down for whoever waits behind the proxy.
_TIMEOUT_S: Final = 5
_OLDEST_POSTGRES: Final = 150_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was looked at, and what is wrong with it; None means that it holds, ``warning`` or not."""

    subject: str
    detail: str = ""
    wrong: str | None = None
    warning: str | None = None


Probe = tuple[str, Callable[[], str]]


class Wrong(Exception):
    """A probe failed; the message says what was found and what would do."""


class Warned(Exception):
    """A probe holds now; the message says what is to come."""


def check(project: Project) -> list[Finding]:
    """Try every address, database and broker of ``project`` and compare its files with the ledger."""
    probes = list(_probes(project))
    with ThreadPoolExecutor(max_workers=min(16, len(probes))) as pool:
        return list(pool.map(_find, probes))


def _find(probe: Probe) -> Finding:
    subject, look = probe
    try:
        return Finding(subject=subject, detail=look())
    except Wrong as exc:
        return Finding(subject=subject, wrong=str(exc))
    except Warned as exc:
        return Finding(subject=subject, warning=str(exc))
    except ProjectInvalid as exc:
        return Finding(subject=subject, wrong="; ".join(map(str, exc.problems)))


def _probes(project: Project) -> Iterator[Probe]:
    for upstream in (project.monolith, *project.services.values()):
        for endpoint in upstream.endpoints:
            yield f"{upstream.name} at {endpoint}", partial(_answers, endpoint, project.proxy.tls)
    if project.identity is not None:
        for endpoint in project.monolith.endpoints:
            yield f"identity at {endpoint}", partial(_identity, endpoint, project.proxy.tls, project.identity)
    for upstream in _with_tables(project):
        yield f"{upstream.name}'s database", partial(_database, upstream.database)
    yield "control database", partial(_database, project.control.database)
    yield "Valkey", partial(_valkey, project.control.redis)
    yield "secret", partial(_secret, project.control)
    yield "ledger", partial(_ledger, project)
    if project.proxy.tracing is not None:
        yield "collector of spans", partial(_collector, project.proxy.tracing)
    for files in project.capabilities.values():
        if files.team is not None:
            yield f"who looks after {files.name}", partial(str, files.team)
        if files.tables:
            yield f"mapping of {files.name}", partial(_mapping, files, project)
    if project.manage is not None:
        yield WHERE, partial(_migrations, project.manage, project)


def _with_tables(project: Project) -> list[Upstream]:
    names = {each.service for each in project.capabilities.values() if each.tables}
    return [project.monolith, *(project.services[name] for name in sorted(names))] if names else []


def _answers(endpoint: str, tls: Tls) -> str:
    return f"answers ({_sent(endpoint, tls, 'GET', '').status_code})"


def _identity(endpoint: str, tls: Tls, identity: Identity) -> str:
    wrong = asking.problem(identity, lambda path, body, headers: _sent(endpoint, tls, "POST", path, body, headers))
    if wrong is not None:
        raise Wrong(wrong)
    return "tells who a visitor is"


def _sent(
    endpoint: str, tls: Tls, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> httpx.Response:
    address = parse_endpoint(endpoint)
    url = f"http://{address.authority}" if address.path else endpoint
    try:
        shown = proof(tls) if address.secure else True
        with httpx.Client(transport=httpx.HTTPTransport(uds=address.path or None, verify=shown)) as client:
            return client.request(method, url.rstrip("/") + path, content=body, headers=headers, timeout=_TIMEOUT_S)
    except httpx.HTTPError as exc:
        raise Wrong(f"no HTTP answer ({exc}); start it, or mend its endpoints in strangler.toml") from exc


def proof(tls: Tls) -> ssl.SSLContext:
    """Return what the proxy proves stacks by. Raises ``Wrong`` naming a file that it cannot use."""
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.client_certificate is not None:
            context.load_cert_chain(tls.client_certificate, tls.client_key, password="")
    except OSError as exc:
        files = ", ".join(str(each) for each in (tls.ca, tls.client_certificate, tls.client_key) if each is not None)
        raise Wrong(f"one of {files} cannot be used: {exc}; mend [proxy.tls] in strangler.toml") from exc
    return context


def _database(secret: Secret) -> str:
    url = secret.reveal()
    try:
        with psycopg.connect(url, connect_timeout=_TIMEOUT_S) as connection:
            version = connection.info.server_version
            user = connection.info.user
    except psycopg.OperationalError as exc:
        raise Wrong(f"{_where(url)} refused: {str(exc).strip().splitlines()[0]}") from exc
    if version < _OLDEST_POSTGRES:
        raise Wrong(f"{_where(url)} is PostgreSQL {version // 10_000}; 15 is the oldest that is supported")
    return f"PostgreSQL {version // 10_000}, as {user}"


def _where(url: str) -> str:
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return "its URL"
    return f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"


def _valkey(secret: Secret) -> str:
    client = redis.Redis.from_url(secret.reveal(), socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S)
    try:
        client.ping()
    except redis.RedisError as exc:
        raise Wrong(f"no answer: {exc}") from exc
    finally:
        client.close()
    return "answers"


def _secret(control: Control) -> str:
    secrets = [each.reveal() for each in control.secrets]
    if len(secrets) == 1:
        return "long enough"
    if secrets[0] == secrets[1]:
        raise Wrong("second_secret is the secret itself; name the one that follows, or the one before, or leave it out")
    return "long enough, and a second one is believed"


def _collector(tracing: Tracing) -> str:
    """Send no spans at all, which is a whole message of OTLP: nothing is stored, and who may not send is told."""
    headers = {"Content-Type": "application/x-protobuf", **_otlp_headers(os.environ)}
    try:
        status = httpx.post(tracing.endpoint, headers=headers, timeout=_TIMEOUT_S).status_code
    except httpx.HTTPError as exc:
        raise Wrong(f"no HTTP answer ({exc}); start it, or mend [proxy.tracing] in strangler.toml") from exc
    if status in (401, 403):
        raise Wrong(f"{tracing.endpoint} answers {status}; put what proves who sends into {_OTLP_HEADERS[1]}")
    if status >= 300:
        raise Wrong(f"{tracing.endpoint} answers {status}; name where a collector takes OTLP over HTTP")
    return f"takes spans of {tracing.sample:.2%} of the requests"


_OTLP_HEADERS: Final = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")


def _otlp_headers(env: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that OpenTelemetry's exporters send: NAME=VALUE, by commas, percent-encoded."""
    raw = next((env[name] for name in _OTLP_HEADERS if env.get(name)), "")
    pairs = (each.partition("=") for each in raw.split(",") if "=" in each)
    return {unquote(name).strip(): unquote(value).strip() for name, _, value in pairs}


def _ledger(project: Project) -> str:
    try:
        with Ledger.open(project) as ledger:
            published = ledger.definitions()
            newest = ledger.newest()
    except NotInstalled as exc:
        raise Wrong("not made yet; run: strangler publish") from exc
    except LedgerError as exc:
        raise Wrong(str(exc)) from exc
    here = {name: definition_of(files) for name, files in project.capabilities.items()}
    differing = sorted(name for name in here.keys() | published.keys() if here.get(name) != published.get(name))
    if differing:
        raise Wrong(f"the files of {', '.join(differing)} are not what is published; run: strangler publish")
    if newest is None:
        return "empty"
    _sealed(newest, project.control.keys())
    return f"routing table {newest.version} in force"


def _sealed(newest: Publication, keys: Keys) -> None:
    if is_sealed(newest.sealed, keys.table):
        return
    if keys.second is not None and is_sealed(newest.sealed, keys.second.table):
        raise Wrong(f"routing table {newest.version} is sealed with second_secret; run: strangler publish")
    raise Wrong(
        f"routing table {newest.version} is sealed with another secret, and workers refuse it; set that one as"
        " second_secret, or run: strangler publish"
    )


def _mapping(files: CapabilityFiles, project: Project) -> str:
    try:
        fit = backfill.check(files, project)
    except SyncError as exc:
        raise Wrong(str(exc)) from exc
    return f"{len(fit)} {'table fits' if len(fit) == 1 else 'tables fit'} both databases"


def _migrations(manage: Manage, project: Project) -> str:
    """Say how many migrations are pending. Raises ``Warned`` for those that ``sync check`` has something to say of."""
    try:
        listing = ask(manage, project.root)
    except SyncError as exc:
        raise Wrong(str(exc)) from exc
    concerned = {name: _concerned(listing, files, project) for name, files in project.capabilities.items()}
    if any(concerned.values()):
        told = "; ".join(
            f"{', '.join(each)}: see strangler sync check {name}" for name, each in concerned.items() if each
        )
        raise Warned(f"some are pending that concern mapped tables: {told}")
    pending = len(listing.migrations)
    return f"{pending} pending, of no mapped table" if pending else "none is pending"


def _concerned(listing: Listing, files: CapabilityFiles, project: Project) -> list[str]:
    tables = mapped(files.tables)
    return list(dict.fromkeys(each.name for each in listing.operations if concerns(each, listing, tables)))
