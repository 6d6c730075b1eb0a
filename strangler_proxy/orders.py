"""What a worker is told when it starts, and the word that it is to leave.

Apart from the worker, so that the supervisor need not import what serves requests: half of what its start takes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from strangler_proxy.errors import OrdersUnreadable
from strangler_proxy.settings import Settings

_PLAIN: Final = "127.0.0.1:0"

LEAVE: Final = b"leave\n"
"""The supervisor's word that others serve on the same sockets: to drain without haste."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a worker is started with. ``listeners`` are descriptors of listening sockets, ``addresses`` theirs."""

    settings: Settings
    listeners: tuple[int, ...]
    addresses: tuple[str, ...]

    def to_line(self) -> bytes:
        raw = {
            "settings": self.settings.to_json(),
            "listeners": list(self.listeners),
            "addresses": list(self.addresses),
        }
        return json.dumps(raw).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Orders:
        """Return what ``to_line`` wrote, here or in an earlier release. Raises ``OrdersUnreadable``.

        The two differ where a worker is started again after the files on disk were replaced.
        """
        try:
            raw = json.loads(line)
            settings, listeners = Settings.from_json(raw["settings"]), tuple(raw["listeners"])
        except (KeyError, TypeError, ValueError) as exc:
            raise OrdersUnreadable(f"what the supervisor says cannot be read: {exc!r}") from exc
        # Before addresses were told there was one socket for each of them, and before that only plain ones.
        usual = settings.entry.addresses or (_PLAIN,) * len(listeners)
        return cls(settings=settings, listeners=listeners, addresses=tuple(raw.get("addresses", usual)))
