"""The two ways to run the proxy, in the foreground, until a signal ends it."""

from __future__ import annotations

import logging
import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import uvloop

from strangler.project import Project, Proxy, require, values
from strangler.project.values import Identity
from strangler.routing.address import AddressInvalid, parse_endpoint
from strangler.routing.table import MONOLITH, RoutingTable, seal
from strangler_proxy.errors import ProxyError
from strangler_proxy.running import run
from strangler_proxy.settings import PIPE, Asking, Entry, Links, Settings, StackTls, Tracing
from strangler_proxy.tls import try_files
from strangler_proxy.tracing import can_export


def serve(project: Project, again: Callable[[], Project] | None = None, *, takeover: bool = False) -> int:
    """Run the proxy of ``project``, and return the exit code. Raises ``ProjectInvalid`` for what is missing.

    ``again`` reads the project anew, when it is asked to by SIGHUP. With ``takeover`` the one that runs makes way.
    """
    proxy = project.proxy

    def read() -> Settings:
        assert again is not None  # noqa: S101 -- asked only then
        found = again()
        if (found.proxy.admin, found.proxy.workers) != (proxy.admin, proxy.workers):
            raise ProxyError("another admin address or number of workers wants a restart")
        return settings_of(found)

    try:
        settings = settings_of(project)
    except ProxyError as exc:
        return _say(str(exc))
    return _run(settings, proxy.admin, proxy.workers, read if again is not None else None, takeover=takeover)


def settings_of(project: Project) -> Settings:
    """Return what workers are told of ``project``. Raises ``ProjectInvalid`` and ``ProxyError``."""
    control, proxy = project.control, project.proxy
    require(control.database, control.redis, *control.secrets)
    if proxy.tracing is not None and not can_export():
        raise ProxyError("[proxy.tracing] wants more; run: pip install 'strangler[tracing]'")
    links = Links(
        database=control.database.reveal(),
        redis=control.redis.reveal(),
        secret=control.secret.reveal(),
        second_secret=control.second_secret.reveal() if control.second_secret is not None else "",
        state=str(project.root / proxy.state),
    )
    settings = Settings(
        worker="",
        table=seal(project.bootstrap_table(), PIPE).decode(),
        trusted=proxy.trusted,
        access_log=proxy.access_log,
        links=links,
        identity=_asking(project.identity),
        tracing=_tracing(proxy.tracing),
        server_timing=proxy.server_timing,
        timeouts=proxy.timeouts,
        limits=proxy.limits,
        rates=proxy.rates,
        shed=proxy.shed,
        entry=_entry(proxy),
        stack_tls=_stack_tls(proxy.tls),
    )
    try_files(settings.entry, settings.stack_tls)
    return settings


def _entry(proxy: Proxy) -> Entry:
    return Entry(
        addresses=proxy.listen,
        proxy_protocol=proxy.proxy_protocol,
        certificate=_named(proxy.tls.certificate),
        key=_named(proxy.tls.key),
        mode=proxy.socket_mode,
    )


def _stack_tls(tls: values.Tls) -> StackTls:
    return StackTls(ca=_named(tls.ca), certificate=_named(tls.client_certificate), key=_named(tls.client_key))


def _named(file: Path | None) -> str:
    return "" if file is None else str(file)


def _tracing(tracing: values.Tracing | None) -> Tracing | None:
    return None if tracing is None else Tracing(endpoint=tracing.endpoint, sample=tracing.sample)


def _asking(identity: Identity | None) -> Asking | None:
    if identity is None:
        return None
    return Asking(
        secret=identity.secret.reveal(),
        session_cookie=identity.session_cookie,
        path=identity.path,
        permissions=identity.permissions,
    )


def serve_origin(
    origin: str, listen: Sequence[str] = ("127.0.0.1:8000",), admin: str = "127.0.0.1:8900", workers: int = 2
) -> int:
    """Run a proxy that sends everything to ``origin`` (``http://HOST:PORT``), and return the exit code."""
    try:
        parse_endpoint(origin)
    except AddressInvalid:
        return _say(f"{origin!r} is no origin; http://HOST:PORT is")
    table = RoutingTable(version=0, upstreams={MONOLITH: (origin,)})
    entry = Entry(addresses=tuple(listen))
    return _run(Settings(worker="", table=seal(table, PIPE).decode(), entry=entry), admin, workers)


def _run(
    settings: Settings,
    admin: str,
    workers: int,
    read: Callable[[], Settings] | None = None,
    *,
    takeover: bool = False,
) -> int:
    logging.basicConfig(level=logging.WARNING, format="strangler proxy: %(message)s")
    try:
        try_files(settings.entry, settings.stack_tls)
        _raise_descriptors(settings)
        uvloop.run(run(settings, admin, workers, read, takeover=takeover))
    except ProxyError as exc:
        return _say(str(exc))
    return 0


def _raise_descriptors(settings: Settings) -> None:
    """Take as many descriptors as the system gives; workers inherit the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < 2 * settings.limits.connections:
        logging.getLogger("strangler_proxy").warning(
            "a worker may have %d descriptors, which is few for %d connections to each endpoint and their clients",
            hard,
            settings.limits.connections,
        )


def _say(sentence: str) -> int:
    print(f"strangler proxy: {sentence}", file=sys.stderr)
    return 1
