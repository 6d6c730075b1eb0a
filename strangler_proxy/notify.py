"""Tells the service manager how the proxy is: datagrams to the socket that ``$NOTIFY_SOCKET`` names (sd_notify(3)).

Without that variable nobody is told anything. What cannot be sent is left unsaid: the proxy is there for its clients.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping
from typing import Final

_LOG: Final = logging.getLogger("strangler_proxy")
_PATH: Final = "NOTIFY_SOCKET"
WATCHDOG: Final = ("WATCHDOG_USEC", "WATCHDOG_PID")


class Notice:
    """A line to the service manager. ``watchdog`` is after how many seconds of silence it acts, None for never."""

    def __init__(self, address: str = "", watchdog: float | None = None) -> None:
        self.watchdog = watchdog
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if address else None
        if self._sock is not None:
            self._sock.setblocking(False)
        self._status = ""
        self._failed = False

    def __repr__(self) -> str:
        return f"<Notice to {self._address!r} watchdog={self.watchdog}>"

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Notice:
        """Return the line that a process's environment names; a mute one where it names none that is understood."""
        address = environment.get(_PATH, "")
        if not address:
            return cls()
        if address[0] not in "/@":  # vsock: is for virtual machines
            _LOG.warning("nobody is told how the proxy is: NOTIFY_SOCKET is %r, neither a path nor abstract", address)
            return cls()
        return cls(address, _watchdog(environment))

    def ready(self) -> None:
        """The workers serve; also the end of a reload."""
        self._say("READY=1")

    def reloading(self) -> None:
        """Settings are being taken over. The time tells which reload an answer belongs to (Type=notify-reload)."""
        self._say(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1_000}")

    def stopping(self) -> None:
        self._say("STOPPING=1")

    def alive(self) -> None:
        """Keep the watchdog from acting."""
        if self.watchdog is not None:
            self._say("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Tell people in one line how it is; what was told last is not told again."""
        if text != self._status:
            self._status = text
            self._say(f"STATUS={text.splitlines()[0]}")

    def make_way(self, successor: int) -> None:
        """Tell which process is the service from now on, and nothing after it."""
        self._say(f"MAINPID={successor}")
        self.close()

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _say(self, words: str) -> None:
        if self._sock is None:
            return
        try:
            self._sock.sendto(words.encode(), self._address)
            self._failed = False
        except OSError as exc:
            if not self._failed:
                _LOG.warning("the service manager cannot be told how the proxy is: %s", exc)
            self._failed = True


def _watchdog(environment: Mapping[str, str]) -> float | None:
    """Return a watchdog's seconds (sd_watchdog_enabled(3)), None when there is none for this process."""
    period, process = (environment.get(name, "") for name in WATCHDOG)
    if not period.isdecimal() or not int(period) or process not in ("", str(os.getpid())):
        return None
    return int(period) / 1_000_000
