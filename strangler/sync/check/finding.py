"""What a check says: how bad it is, where it was found, and the statement that mends it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """``stop``: streams cannot be begun, or would break. ``warn``: they can, and somebody should know this."""

    STOP = "stop"
    WARN = "warn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found in which database, and the SQL that an administrator mends it with there, where SQL does."""

    level: Level
    where: str
    found: str
    statement: str | None = None
    restart: bool = False


def stop(where: str, found: str, statement: str | None = None, *, restart: bool = False) -> Finding:
    return Finding(level=Level.STOP, where=where, found=found, statement=statement, restart=restart)


def warn(where: str, found: str, statement: str | None = None) -> Finding:
    return Finding(level=Level.WARN, where=where, found=found, statement=statement)
