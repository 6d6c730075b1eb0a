"""What is found: by which rule, what was asked, what came, and what would do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """``inconclusive``: there was nothing to ask with, or what came tells neither way."""

    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One rule's verdict. ``would_do`` is empty for what passes."""

    rule: str
    verdict: Verdict
    asked: str
    came: str
    would_do: str = ""


def passed(rule: str, asked: str, came: str) -> Finding:
    return Finding(rule=rule, verdict=Verdict.PASS, asked=asked, came=came)


def failed(rule: str, asked: str, came: str, would_do: str) -> Finding:
    return Finding(rule=rule, verdict=Verdict.FAIL, asked=asked, came=came, would_do=would_do)


def untold(rule: str, asked: str, came: str, would_do: str = "") -> Finding:
    return Finding(rule=rule, verdict=Verdict.INCONCLUSIVE, asked=asked, came=came, would_do=would_do)
