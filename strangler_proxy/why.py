"""Why a request went where it went, told to testers in a header of its response.

    Strangler-Why: capability="catalog", stack=service, why=share, bucket=1714, share=2500, version=17, upstream="shop"

A dictionary of RFC 9651 (Structured Field Values). ``bucket`` and ``share`` are in basis points and stand only where
the share could have decided; ``version`` is that of the routing table. Only who shows a signed override that is still
good is told, for whichever capability it is: the routes of an installation are nobody else's to know.
"""

from __future__ import annotations

from typing import Final

from strangler.routing.bucket import bucket
from strangler.routing.decide import Ambiguous, Decision
from strangler.routing.table import Capability, RoutingTable

# Twice what a project's files allow for a name. A table may come from elsewhere, and a header must stay bounded.
_LONGEST: Final = 128
_PLAIN: Final = frozenset(map(chr, range(0x20, 0x7F)))
# RFC 9651, section 4.1.11: what a Display String writes as it is.
_SHOWN: Final = frozenset(byte for byte in range(0x20, 0x7F) if byte not in b'%"')


def why(decision: Decision | Ambiguous, table: RoutingTable, visitor: str | None) -> bytes:
    """Return the header's line, with its end, for what ``table`` decided about a request of ``visitor``, if known."""
    if isinstance(decision, Ambiguous):
        members = [("why", "ambiguous"), ("version", str(table.version))]
        return _line(members)
    capability = next((each for each in table.capabilities if each.name == decision.capability), None)
    members = [("capability", _text(decision.capability))] if decision.capability is not None else []
    members += [("stack", str(decision.stack)), ("why", str(decision.why))]
    if decision.cohort is not None:
        members.append(("cohort", _text(decision.cohort)))
    members += _share(capability, visitor)
    members += [("version", str(table.version)), ("upstream", _text(decision.upstream))]
    return _line(members)


def _share(capability: Capability | None, visitor: str | None) -> list[tuple[str, str]]:
    if capability is None:
        return []
    drawn = [] if visitor is None else [("bucket", str(bucket(capability.name, visitor)))]
    return [*drawn, ("share", str(capability.state.share))]


def _line(members: list[tuple[str, str]]) -> bytes:
    shown = ", ".join(f"{name}={value}" for name, value in members)
    return f"Strangler-Why: {shown}\r\n".encode("ascii")


def _text(value: str) -> str:
    """Return ``value`` as a String (section 3.3.3), or as a Display String (3.3.8) when it is not plain ASCII."""
    value = value[:_LONGEST]
    if _PLAIN.issuperset(value):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    raw = value.encode("utf-8", "replace")
    return '%"' + "".join(chr(byte) if byte in _SHOWN else f"%{byte:02x}" for byte in raw) + '"'
