"""What ``[proxy.timeouts]``, ``[proxy.limits]`` and ``[proxy.shed]`` say."""

from __future__ import annotations

from dataclasses import fields
from typing import Final

from strangler.project.limits import Limits, Shed, Timeouts
from strangler.project.section import Section

SHORTEST: Final = 0.001
LONGEST: Final = 86_400.0
MOST: Final = 1_000_000_000
_LATENESS: Final = f"seconds to {LONGEST:.0f}, or 0 for however late"
_SECONDS: Final = f"seconds from {SHORTEST} to {LONGEST:.0f}"


def timeouts_of(proxy: Section) -> Timeouts:
    """Return what ``[proxy.timeouts]`` says; its keys are the value's."""
    section, usual = proxy.section("timeouts"), Timeouts()
    found = {
        each.name: section.seconds(each.name, _SECONDS, getattr(usual, each.name), SHORTEST, LONGEST)
        for each in fields(Timeouts)
    }
    section.close()
    return Timeouts(**found)


def limits_of(proxy: Section) -> Limits:
    """Return what ``[proxy.limits]`` says; its keys are the value's."""
    section, usual = proxy.section("limits"), Limits()
    found = {
        each.name: section.number(each.name, _wanted(each.name), getattr(usual, each.name), _least(each.name), MOST)
        for each in fields(Limits)
    }
    section.close()
    return Limits(**found)


def shed_of(proxy: Section) -> Shed:
    """Return what ``[proxy.shed]`` says."""
    section, usual = proxy.section("shed"), Shed()
    shed = Shed(
        lateness=section.seconds("lateness", _LATENESS, usual.lateness, 0.0, LONGEST),
        in_flight=section.number("in_flight", f"a whole number from 1 to {MOST}", None, 1, MOST),
    )
    section.close()
    return shed


def _wanted(name: str) -> str:
    return f"a whole number from {_least(name)} to {MOST}"


def _least(name: str) -> int:
    return {"pool": 0, "pending": 0, "request_headers": 1024, "target": 256, "buffer": 4096}.get(name, 1)
