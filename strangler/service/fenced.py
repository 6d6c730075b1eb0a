"""What a fence says in the service's own database when something is written there that is owned elsewhere."""

from __future__ import annotations

import re
from typing import Final

import psycopg

from strangler.service.errors import NotOwner

FENCED: Final = "SF001"
"""The SQLSTATE of a write that a fence refuses; a contract with ``strangler.sync.fencing``."""
_DETAIL: Final = re.compile(r"capability=(\S+) owner=(\S+) epoch=(\d+) ")


def refusal(error: psycopg.Error) -> NotOwner | None:
    """Return what a fence has said in ``error``, None where it was none."""
    if error.sqlstate != FENCED:
        return None
    detail = error.diag.message_detail or ""
    found = _DETAIL.match(detail)
    capability, owner = (found[1], found[2]) if found else ("its data", "other side")
    message = f"the {owner} owns {capability}: nothing was written ({detail})"
    return NotOwner(message, owner=owner, capability=found[1] if found else "")
