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


class Untrusted(ChassisError):
    """An identity came with a request that the proxy did not vouch for, or not any more. Clients get a 401.

    When it happens to everybody, look at the clocks, and at whether ``STRANGLER_JWKS`` names this installation's proxy.
    """
