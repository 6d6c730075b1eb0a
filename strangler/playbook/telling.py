"""How numbers and times are said on a page."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from strangler.sync.telling import brief

_MOST = 400


def percent(share: int) -> str:
    """Return a share of basis points as people read it: "25 %"."""
    return f"{Decimal(share) / 100:f} %"


def clock(at: datetime) -> str:
    """Return a time with its zone, so that whoever reads the page elsewhere knows when that was."""
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S %Z}"


def line(text: str) -> str:
    """Return what somebody wrote, or a database said, on one line."""
    return brief(text, _MOST)


def sentence(text: str) -> str:
    """Return what begins with an article as a sentence begins; a name stays as it is."""
    return f"The {text[4:]}" if text.startswith("the ") else text
