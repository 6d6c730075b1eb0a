"""An answer as a value, and the silence that came instead of one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A whole answer. Header names are in lower case, ``seconds`` are from the request to the last byte.

    ``cut`` says that there was more than anybody reads here.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    seconds: float = 0.0
    cut: bool = False

    def __str__(self) -> str:
        return f"{self.status} {self.media}".strip() + f" in {self.seconds * 1000:.0f} ms"

    def header(self, name: str) -> str:
        """Return the header called ``name``, several of it by commas, "" for none."""
        return ", ".join(value for each, value in self.headers if each == name)

    @property
    def media(self) -> str:
        """The media type without its parameters, in lower case."""
        return self.header("content-type").partition(";")[0].strip().lower()

    @property
    def is_json(self) -> bool:
        return self.media == "application/json" or self.media.endswith("+json")

    @cached_property
    def told(self) -> Any:
        """The body as JSON. Raises ``ValueError``."""
        return json.loads(self.body)

    def is_like(self, other: Answer) -> bool:
        """Return whether both say the same."""
        return (self.status, self.body) == (other.status, other.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """No whole answer. ``refused``: nobody listens; ``begun``: a part of one came."""

    why: str
    refused: bool = False
    begun: bool = False

    def __str__(self) -> str:
        return self.why


Asked = Answer | Silence


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """What came back of bytes: the status of an answer, or None; after how many bytes; and why nobody took them."""

    status: int | None = None
    sent: int = 0
    closed: bool = False
    refused: str = ""
