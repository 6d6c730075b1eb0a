"""What may differ between two answers, each with its reason.

An exemption is written as text, and its reason is not optional. It names

    date                                          a header, all of it
    set-cookie:visitor   vary:cookie              one cookie, or one member of a header that is a list
    set-cookie:visitor_*                          all whose name begins so
    $.results[*].id   $[0]   $.a.*   $['a b']      values in a JSON body, by their path
    html whitespace                               white space between the tags of a page
    html input[name=csrfmiddlewaretoken]@value    an attribute of elements, by one attribute that they have
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?::(\S+))?")
_STEP: Final = re.compile(r"\.([A-Za-z_][A-Za-z0-9_-]*|\*)|\[([0-9]+|\*)\]|\['([^']*)'\]")
_ATTRIBUTE: Final = re.compile(r"html ([a-z][a-z0-9-]*)(?:\[([a-z-]+)=([^\]]*)\])?@([a-z-]+)")
_SPACE: Final = "html whitespace"
_WANTED: Final = "a header, header:member, $.json.path, 'html whitespace' or 'html tag[name=value]@attribute'"

# A step into JSON: a member's name, a place in a list, or None for any.
Step = str | int | None
Path = tuple[str | int, ...]


class Kind(StrEnum):
    HEADER = "header"
    MEMBER = "member"
    JSON = "json"
    SPACE = "space"
    ATTRIBUTE = "attribute"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exemption:
    """One thing that may differ, as it was written, and why."""

    what: str
    reason: str

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise ValueError(f"{self.what!r} is exempt without a reason")
        _ = self.kind

    @property
    def kind(self) -> Kind:
        if self.what == _SPACE:
            return Kind.SPACE
        if _ATTRIBUTE.fullmatch(self.what):
            return Kind.ATTRIBUTE
        if self.what.startswith("$") and _steps(self.what) is not None:
            return Kind.JSON
        found = None if self.what.startswith("$") else _HEADER.fullmatch(self.what)
        if found is None:
            raise ValueError(f"{self.what!r} names nothing that can be exempt; {_WANTED} does")
        return Kind.MEMBER if found[2] else Kind.HEADER

    @property
    def header(self) -> str:
        """The header's name in lower case."""
        return self.what.partition(":")[0].lower()

    @property
    def member(self) -> str:
        return self.what.partition(":")[2].lower()

    @property
    def steps(self) -> tuple[Step, ...]:
        return _steps(self.what) or ()

    @property
    def attribute(self) -> tuple[str, str | None, str | None, str]:
        """The tag, the attribute that tells it and that one's value, and the attribute that may differ."""
        (found,) = _ATTRIBUTE.finditer(self.what)
        return found[1], found[2], found[3], found[4]

    def holds(self, path: Path) -> bool:
        """Return whether ``path`` or what it lies in is exempt."""
        steps = self.steps
        return len(path) >= len(steps) and all(
            step is None or step == place for step, place in zip(steps, path, strict=False)
        )


def _steps(what: str) -> tuple[Step, ...] | None:
    if "".join(match[0] for match in _STEP.finditer(what, 1)) != what[1:]:
        return None
    return tuple(_step(*match.groups()) for match in _STEP.finditer(what, 1))


def _step(name: str | None, place: str | None, quoted: str | None) -> Step:
    if quoted is not None:
        return quoted
    if "*" in (name, place):
        return None
    return name if place is None else int(place)


def declared(reasons: Mapping[str, str]) -> tuple[Exemption, ...]:
    """Return the exemptions that ``reasons`` declares: what may differ, and why.

    Raises ``ValueError`` for one without a reason, or one that names nothing.
    """
    return tuple(Exemption(what=what, reason=reason) for what, reason in reasons.items())


# What belongs to one hop (RFC 9110, section 7.6.1) or to the moment, and therefore differs between any two answers.
ALWAYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "date": "the moment of the answer",
        "server": "names the server software; the proxy decides what clients see",
        "connection": "belongs to one hop; the proxy has its own connection with the client",
        "keep-alive": "belongs to one hop",
        "transfer-encoding": "framing of one hop; the body is compared whole",
        "strangler-position": "how far the stack's own database has written; the proxy takes it out",
    }
)


def of_kind(exempt: Iterable[Exemption], kind: Kind) -> tuple[Exemption, ...]:
    return tuple(each for each in exempt if each.kind is kind)
