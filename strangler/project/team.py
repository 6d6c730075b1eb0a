"""Who looks after a capability: a team, and where it is reached when something is wrong."""

from __future__ import annotations

import re
from typing import Final

from strangler.project.section import Section
from strangler.project.values import Team

_MOST: Final = 100
_TEAM: Final = f'a team\'s name of at most {_MOST} characters, such as "Storefront"'
_CONTACT: Final = 'where the team is reached: an address of mail, a URL, a number or a "#channel"'
_REACHED: Final = re.compile(r"[^@\s]+@[^@\s]+|(?:https?|mailto|tel):\S+|#[\w.-]+|\+[0-9][0-9 ()/-]{3,30}")


def team_of(section: Section) -> Team | None:
    """Return who looks after a capability, None where it does not say."""
    name = section.text("team", _TEAM, default="", check=_is_short)
    contact = section.text("contact", _CONTACT, default="", check=_is_reached)
    if contact and not name:
        section.problem("team", "nothing, beside a contact", _TEAM)
    return Team(name=name, contact=contact) if name else None


def _is_short(text: str) -> None:
    if len(text) > _MOST or not text.isprintable() or text != text.strip():
        raise ValueError


def _is_reached(text: str) -> None:
    if len(text) > _MOST or not text.isprintable() or not _REACHED.fullmatch(text):
        raise ValueError
