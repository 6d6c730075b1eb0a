"""A proxy in its process: the supervisor, the admin port, and the threshold at which a successor knocks."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from strangler.routing.address import parse_listen
from strangler_proxy.activation import check_all_used, handed_over
from strangler_proxy.admin import admin_server
from strangler_proxy.errors import ProxyError
from strangler_proxy.notify import WATCHDOG, Notice
from strangler_proxy.places import Place, places
from strangler_proxy.settings import Settings
from strangler_proxy.supervisor import Supervisor, slots
from strangler_proxy.takeover import Predecessor, Threshold, find

_LOG: Final = logging.getLogger("strangler_proxy")
TAKEOVER: Final = "--takeover"
_LOOK: Final = 0.5


async def run(
    settings: Settings,
    admin: str,
    workers: int,
    read: Callable[[], Settings] | None = None,
    *,
    takeover: bool = False,
) -> None:
    """Run a proxy until it is told to stop, or until another has taken over. Raises ``ProxyError``."""
    state = settings.links.state
    predecessor = await find(Path(state)) if takeover and state else None
    try:
        await Running(settings, admin, workers, read, predecessor).run()
    finally:
        if predecessor is not None:
            predecessor.forget()


class Running:
    """One proxy from its start to its end. Raises ``ProxyError``."""

    def __init__(
        self,
        settings: Settings,
        admin: str,
        workers: int,
        read: Callable[[], Settings] | None,
        predecessor: Predecessor | None,
    ) -> None:
        handed = handed_over(os.environ)
        inherited = [*handed, *(predecessor.places if predecessor is not None else ())]
        (self._admin,) = places(admin, 1, inherited=inherited, alone=True)
        self._notice = Notice.of(os.environ)
        self._supervisor = Supervisor(slots(settings, workers, inherited), read, self._notice)
        check_all_used(handed, self._places())
        self._server = admin_server(self._supervisor)
        self._serving: asyncio.Task[None] | None = None
        self._threshold: Threshold | None = None
        self._predecessor = predecessor
        self._state = settings.links.state
        self._succession: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve until all is over."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, self._have_taken_over)
        if self._predecessor is None:
            self._open_admin()
        try:
            await self._supervisor.run(self._begin)
        finally:
            await self._close()

    async def _begin(self) -> None:
        """All workers serve: send the predecessor away, and tell everybody."""
        if self._predecessor is not None:
            await self._predecessor.leave(self._places())
            self._open_admin()
        if self._state:
            self._threshold = self._open_threshold(Path(self._state))
        shown = dict.fromkeys(_shown(place) for place in self._supervisor.places)
        print(f"strangler proxy: {', '.join(shown)} (admin {_shown(self._admin)})", flush=_FLUSHED)

    def _places(self) -> list[Place]:
        return [self._admin, *self._supervisor.places]

    def _open_admin(self) -> None:
        self._serving = asyncio.create_task(self._server.serve([self._admin.listener]))

    def _open_threshold(self, folder: Path) -> Threshold | None:
        try:
            return Threshold(folder, self._places, self._make_way)
        except ProxyError as exc:
            _LOG.warning("no other proxy will be able to take over: %s", exc)
            return None

    def _make_way(self, successor: int) -> None:
        _LOG.warning("process %d has taken over; this one ends what it has under way", successor)
        self._notice.make_way(successor)
        self._server.should_exit = True
        self._supervisor.make_way()

    async def _close(self) -> None:
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving
        if self._threshold is not None:
            await self._threshold.close()
        if self._succession is not None:
            self._succession.cancel()
        self._notice.close()

    # --- a successor, started from here ---

    def _have_taken_over(self) -> None:
        """Start the same command again, as it is on disk now, to take over."""
        if self._threshold is None or self._supervisor.stopping:
            _LOG.error("nobody can take over: this proxy is starting or stopping, or has no state folder")
            return
        self._succession = asyncio.get_running_loop().create_task(_succeed())


async def _succeed() -> None:
    """Run a successor, and tell when it ends before this one does."""
    again = [sys.executable, *sys.orig_argv[1:], *([] if TAKEOVER in sys.orig_argv else [TAKEOVER])]
    environment = {name: value for name, value in os.environ.items() if name != WATCHDOG[1]}  # it is this process's
    process = subprocess.Popen(again, env=environment)  # noqa: ASYNC220 -- a fork takes a millisecond, and nobody waits here
    while process.poll() is None:  # noqa: ASYNC110 -- to wait in a thread would keep this process from ending
        await asyncio.sleep(_LOOK)
    _LOG.error("the successor ended (exit code %d), and this proxy goes on", process.returncode)


_FLUSHED: Final = True


def _shown(place: Place) -> str:
    """Return an address as one asks it, with the port that was found where any would do."""
    listen = parse_listen(place.address)
    if listen.path:
        return str(listen)
    host, port = place.listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"http{'s' if listen.secure else ''}://{shown}:{port}"
