"""Tries what a project says of its proxy on this machine, without serving: every problem, and what would mend it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

from strangler.project import Project, ProjectInvalid, require
from strangler.routing.address import parse_listen
from strangler_proxy.errors import ProxyError
from strangler_proxy.settings import Entry, StackTls
from strangler_proxy.tls import try_files
from strangler_proxy.tracing import can_export


def problems(project: Project) -> list[str]:
    """Return what would keep the proxy of ``project`` from serving here, one sentence each."""
    return [*_variables(project), *_addresses(project), *_certificates(project), *_log(project), *_state(project)]


def _variables(project: Project) -> Iterator[str]:
    control, identity = project.control, project.identity
    secrets = [control.database, control.redis, *control.secrets, *([identity.secret] if identity is not None else [])]
    try:
        require(*secrets)
    except ProjectInvalid as exc:
        yield from map(str, exc.problems)
    if project.proxy.tracing is not None and not can_export():
        yield "[proxy.tracing]: what exports is not installed; run: pip install 'strangler[tracing]'"


def _addresses(project: Project) -> Iterator[str]:
    """Look names up and folders of sockets; ports are not tried, since the proxy that runs may have them."""
    for key, address in [*(("listen", each) for each in project.proxy.listen), ("admin", project.proxy.admin)]:
        listen = parse_listen(address)
        if listen.path:
            wrong = _unwritable(Path(listen.path).parent)
            if wrong:
                yield f"[proxy] {key}: {address} cannot be made: {wrong}"
            continue
        try:
            socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except OSError as exc:
            yield f"[proxy] {key}: {address} cannot be listened on: {exc.strerror or exc}"


def _certificates(project: Project) -> Iterator[str]:
    tls = project.proxy.tls
    clients = Entry(certificate=_named(tls.certificate), key=_named(tls.key))
    stacks = StackTls(ca=_named(tls.ca), certificate=_named(tls.client_certificate), key=_named(tls.client_key))
    for entry, others in ((clients, StackTls()), (Entry(), stacks)):
        try:
            try_files(entry, others)
        except ProxyError as exc:
            yield f"[proxy.tls]: {exc}"


def _log(project: Project) -> Iterator[str]:
    log = project.proxy.access_log
    if log is None or log == "-":
        return
    file = Path(log)
    wrong = _unwritable(file if file.exists() else file.parent)
    if file.is_dir():
        wrong = "it is a folder"
    if wrong:
        yield f"[proxy] access_log: {log} cannot be written: {wrong}"


def _state(project: Project) -> Iterator[str]:
    folder = project.root / project.proxy.state
    there = next(each for each in (folder, *folder.parents) if each.exists())
    wrong = _unwritable(there) or ("" if there.is_dir() else f"{there} is no folder")
    if wrong:
        yield f"[proxy] state: {folder} cannot be written: {wrong}"


def _unwritable(path: Path) -> str:
    """Return why this process cannot write to a file, or into a folder; "" when it can."""
    if not path.exists():
        return f"there is no {path}"
    return "" if os.access(path, os.W_OK) else f"{path} may not be written by user {os.geteuid()}"


def _named(file: Path | None) -> str:
    return "" if file is None else str(file)
