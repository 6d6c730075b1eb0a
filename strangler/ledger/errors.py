"""What can go wrong with the ledger, by who must act."""

from __future__ import annotations


class LedgerError(Exception):
    """The ledger could not do it. Nothing was changed unless the message says so."""


class Unreachable(LedgerError):
    """The control database does not answer. Routing goes on as last decided; mend the database, then try again."""


class NotInstalled(LedgerError):
    """The control database has no ledger, or an older one. Run ``strangler publish`` once."""


class Unknown(LedgerError):
    """No capability of that name was published. Check the name, or run ``strangler publish`` for a new folder."""


class Conflict(LedgerError):
    """Somebody else changed the capability meanwhile. Look at what they did, then decide again."""


class Drift(LedgerError):
    """The project's files here are not what is published. Run ``strangler publish``, or get the files in force."""


class Unacknowledged(LedgerError):
    """The change is committed and published, but some live workers have not said that they route by it."""
