"""A section of the documentation."""

from __future__ import annotations

from dataclasses import dataclass

_PUBLISHED = ("http://", "https://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A section: its page without the ending, as in ``how-to/sync``, the anchor, and what it is called."""

    page: str
    anchor: str
    title: str

    def at(self, base: str) -> str:
        """Return its address below ``base``: as a site publishes pages, or as files have them."""
        base, anchor = base.rstrip("/"), f"#{self.anchor}" if self.anchor else ""
        if base.startswith(_PUBLISHED):
            return f"{base}/{self.page}/{anchor}"
        return f"{base}/{self.page}.md{anchor}"


def how_to(page: str, anchor: str, title: str) -> Link:
    return Link(page=f"how-to/{page}", anchor=anchor, title=title)


def alarm(name: str, page: str = "sync") -> Link:
    """Return what to do for an alarm."""
    return how_to(f"alarms-{page}", name.lower(), name)
