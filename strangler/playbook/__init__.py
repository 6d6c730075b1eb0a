"""Where a capability stands, what is typed next, and how to go back: a page of its live state."""

from strangler.playbook.facts import Facts, Measured, Recorded, Unseen
from strangler.playbook.gathering import gather
from strangler.playbook.link import Link
from strangler.playbook.rendering import html, markdown
from strangler.playbook.sheet import Playbook, playbook
from strangler.playbook.step import Key, Step
from strangler.playbook.typed import Typed

__all__ = [
    "Facts",
    "Key",
    "Link",
    "Measured",
    "Playbook",
    "Recorded",
    "Step",
    "Typed",
    "Unseen",
    "gather",
    "html",
    "markdown",
    "playbook",
]
