"""Capabilities that a service may own one day: what the shop's own code asks and leaves for it then.

Without ``strangler_django`` nothing has moved, and everything is written here.
"""

from importlib.util import find_spec

THERE = find_spec("strangler_django") is not None


def owned(capability):
    """Return whether a service owns the capability now."""
    if not THERE:
        return False
    from strangler_django.owner import SERVICE, owner

    return owner(capability) == SERVICE


def refused(error, capability):
    """Return whether a write was refused since the capability is not ours now: it belongs to its service, or moves."""
    if not THERE:
        return False
    from strangler_django.fence import refusal

    found = refusal(error)
    return found is not None and found.capability == capability


def leave(reaction, capability, **key):
    """Have a reaction of `reactions.py` run once this transaction is committed: it asks the service."""
    from strangler_django.reactions import later

    later(reaction, key, capability=capability)


def ask(capability, method, path, **more):
    """Ask the service that owns the capability; see ``strangler_django.seam.call``."""
    from strangler_django.seam import call

    return call(capability, method, path, **more)


def failures():
    """Return what ``ask`` raises when it was not done, or nobody knows."""
    from strangler_django.seam import SeamError

    return SeamError


def reached(action):
    """Mark an admin's action that asks the owner itself: it is offered also where the rows are a service's."""
    if not THERE:
        return action
    from strangler_django.admin import reaches_owner

    return reaches_owner(action)
