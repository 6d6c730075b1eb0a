"""What can go wrong in the chassis, sorted by who must act."""

from __future__ import annotations


class ChassisError(Exception):
    """Base of the chassis' errors; the message is a plain sentence for the operator."""


class SettingRefused(ChassisError):
    """The environment or a flag is wrong: correct the setting that the message names and start again."""


class SchemaRefused(ChassisError):
    """The numbered SQL files and the database disagree: nothing of the refused file was applied."""


class Unavailable(ChassisError):
    """Something the service needs does not answer. Clients get a 503 and may try again; look at that thing first."""


class NotOwner(Unavailable):
    """The data are owned elsewhere, or move at this moment: nothing was written, and ``owner`` is who may.

    Send work to the owner's queue. A request that meets it came past the proxy, or while the owner moved: clients get
    a 503 that names the ``capability``, which is empty where the fence did not say it.
    """

    def __init__(self, message: str, *, owner: str, capability: str = "") -> None:
        super().__init__(message)
        self.owner = owner
        self.capability = capability


class Untrusted(ChassisError):
    """An identity came with a request that the proxy did not vouch for, or not any more. Clients get a 401.

    When it happens to everybody, look at the clocks, and at whether ``STRANGLER_JWKS`` names this installation's proxy.
    """
