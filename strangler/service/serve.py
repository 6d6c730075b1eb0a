"""Runs a chassis on uvicorn until it is told to stop, and then stops without losing a request.

On SIGTERM or SIGINT: ready turns false and answers ask for their connection's end, so that whoever balances goes
elsewhere; after ``notice_seconds`` the socket closes; requests in flight get ``finish_seconds`` to end.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import cast

import uvicorn

from strangler.service.chassis import Chassis
from strangler.service.errors import SettingRefused
from strangler.service.heads import BoundedHeads

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """An address to listen on; port 0 takes a free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Listen:
        """Read ``127.0.0.1:8101`` or ``[::1]:8101``; raises ``SettingRefused`` for anything else."""
        host, colon, port = text.rpartition(":")
        if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
            raise SettingRefused(f"cannot listen on {text!r}; write HOST:PORT, such as 127.0.0.1:8101")
        return cls(host=host.removeprefix("[").removesuffix("]"), port=int(port))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """By which files to speak TLS. With ``clients``, an authority's file, only whom it has certified gets in (mTLS)."""

    certificate: Path
    key: Path
    clients: Path | None = None

    def __post_init__(self) -> None:
        for file in filter(None, (self.certificate, self.key, self.clients)):
            if not file.is_file():
                raise SettingRefused(f"TLS wants {str(file)!r}, and there is no such file")

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Tls | None:
        """Return the files in ``TLS_CERTIFICATE``, ``TLS_KEY`` and ``TLS_CLIENTS``, None without any."""
        certificate, key, clients = (env.get(f"TLS_{name}", "") for name in ("CERTIFICATE", "KEY", "CLIENTS"))
        if not certificate and not key and not clients:
            return None
        if not certificate or not key:
            raise SettingRefused("TLS wants both TLS_CERTIFICATE and TLS_KEY")
        return cls(certificate=Path(certificate), key=Path(key), clients=Path(clients) if clients else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long and how much; times in seconds."""

    # Longer than the idle timeout of any pool in front (the proxy's is below a minute): the side that reuses a
    # connection must be the one that closes it, or it will write into one that was just closed.
    keep_alive_seconds: int = 75
    notice_seconds: float = 0.5
    finish_seconds: int = 10
    concurrency: int = 1_000
    backlog: int = 2_048
    head_bytes: int = 65_536  # a little more than the proxy lets through
    head_seconds: float = 10.0  # the proxy's own request_headers


def serve(chassis: Chassis, listen: Listen, *, limits: Limits | None = None, tls: Tls | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then drain and return. Raises ``SettingRefused`` when the address is taken."""
    limits = limits or Limits()
    bound = _bind(listen, limits.backlog)
    host, port, *_ = bound.getsockname()
    logger.info("listening", extra={"host": host, "port": port})
    server = _DrainingServer(_config(chassis, limits, tls), chassis, limits.notice_seconds)
    server.run(sockets=[bound])


def _config(chassis: Chassis, limits: Limits, tls: Tls | None) -> uvicorn.Config:
    return uvicorn.Config(
        chassis,
        http=cast("type[asyncio.Protocol]", _protocol(limits)),  # whatever makes one will do
        log_config=None,
        access_log=False,
        # The proxy says who the client is in headers that the application may read; they never rewrite the scope.
        proxy_headers=False,
        server_header=False,
        date_header=True,
        ws="none",
        lifespan="on",
        timeout_keep_alive=limits.keep_alive_seconds,
        timeout_graceful_shutdown=limits.finish_seconds,
        limit_concurrency=limits.concurrency,
        backlog=limits.backlog,
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.key if tls else None,
        ssl_ca_certs=str(tls.clients) if tls and tls.clients else None,
        ssl_cert_reqs=ssl.CERT_REQUIRED if tls and tls.clients else ssl.CERT_NONE,
    )


def _protocol(limits: Limits) -> partial[BoundedHeads]:
    return partial(
        BoundedHeads,
        head_bytes=limits.head_bytes,
        head_seconds=limits.head_seconds,
        idle_seconds=limits.keep_alive_seconds,
    )


def _bind(listen: Listen, backlog: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((listen.host, listen.port))
    except OSError as error:
        bound.close()
        raise SettingRefused(f"cannot listen on {listen.host}:{listen.port}: {error.strerror}") from error
    bound.listen(backlog)
    bound.setblocking(False)
    return bound


class _DrainingServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, chassis: Chassis, notice_seconds: float) -> None:
        super().__init__(config)
        self._chassis = chassis
        self._notice_seconds = notice_seconds
        self._asked_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._asked_at is not None and sig == signal.SIGINT:
            self.should_exit = self.force_exit = True
            return
        self._asked_at = self._asked_at or monotonic()
        self._chassis.readiness.draining = True

    async def on_tick(self, counter: int) -> bool:
        if self._asked_at is not None and monotonic() - self._asked_at >= self._notice_seconds:
            self.should_exit = True
        return await super().on_tick(counter)
