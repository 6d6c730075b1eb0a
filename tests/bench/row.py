"""One line of a bench report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from rich.console import Console

_SAY: Final = Console(stderr=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What was measured against whom. ``rounds`` are the raw pairs (ours, peer), in the order they ran.

    ``at_most`` says that less is better: the target is met by a ratio that is not larger. Without a target it is told
    beside another row.
    """

    name: str
    unit: str
    ours: float
    peer: float
    peer_name: str
    ratio: float
    target: float | None
    met: bool
    at_most: bool = False
    rounds: list[tuple[float, float]] = field(default_factory=list)


def row(
    name: str,
    unit: str,
    peer_name: str,
    target: float | None,
    rounds: Sequence[tuple[float, float]],
    *,
    at_most: bool = False,
) -> Row:
    """Return the row for paired ``rounds``: the ratio is the median of theirs."""
    ratio = median(ours / peer for ours, peer in rounds)
    return Row(
        name=name,
        unit=unit,
        ours=round(median(ours for ours, _ in rounds), 2),
        peer=round(median(peer for _, peer in rounds), 2),
        peer_name=peer_name,
        ratio=round(ratio, 2),
        target=target,
        met=target is None or (ratio <= target if at_most else ratio >= target),
        at_most=at_most,
        rounds=[(round(ours, 2), round(peer, 2)) for ours, peer in rounds],
    )


def said(found: Row) -> Row:
    """Return ``found``, and say it: a whole run takes minutes."""
    _SAY.print(
        f"{found.name}: {found.ours:,.1f} {found.unit}, {found.peer_name} {found.peer:,.1f}, {found.ratio:.2f} x"
    )
    return found
