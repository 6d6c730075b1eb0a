"""What stops a proxy from running. The messages are for whoever started it."""

from __future__ import annotations


class ProxyError(Exception):
    """The proxy cannot run. The message is for whoever started it."""


class AddressTaken(ProxyError):
    """An address to listen on is not free. Stop what holds it, or choose another."""


class WorkersFail(ProxyError):
    """Workers end before they serve. What they said stands above; mend that and start again."""


class TakeoverRefused(ProxyError):
    """A proxy cannot take over from the one that runs, which goes on. Mend what is said, and try again."""


class OrdersUnreadable(ProxyError):
    """A worker's supervisor is of a release that knows more. Have the installed release take over."""
