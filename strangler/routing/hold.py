"""A hold: the writes of one capability wait while its ownership moves. It travels in the routing table.

What has its default is left out of it, and a capability without a hold has nothing of the kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from strangler.routing.protect import check_count, check_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Whose it is, and within which bounds a worker lets writes wait.

    ``id`` is the epoch of the transition that asks for it, and what workers acknowledge it by. Of each worker ``count``
    writes wait at most, with ``bytes`` of bodies in all, each for ``seconds``; what is beyond is answered with 503.
    """

    id: int
    count: int = 1000
    bytes: int = 16 * 1024 * 1024
    seconds: float = 10.0  # what people wait for before they ask again (Nielsen, Usability Engineering, 5.5)

    def __post_init__(self) -> None:
        if type(self.id) is not int or self.id < 0:
            raise ValueError(f"id is {self.id!r}; it is a whole number from 0 on")
        check_count("count", self.count, least=0)
        if type(self.bytes) is not int or self.bytes < 0:
            raise ValueError(f"bytes is {self.bytes!r}; it is a whole number from 0 on")
        check_seconds("seconds", self.seconds, needed=True)

    def to_json(self) -> dict[str, Any]:
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in found.items() if name == "id" or value != getattr(_USUAL, name)}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Hold:
        """Return what ``to_json`` wrote; keys unknown here are left out.

        Raises ``ValueError`` or ``TypeError`` on what does not fit.
        """
        return cls(**{each.name: raw[each.name] for each in fields(cls) if each.name in raw})


_USUAL: Final = Hold(id=0)
