"""What ``[proxy.rates.NAME]`` say: how often a client may ask for what."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from strangler.project.limits import By, Rate
from strangler.project.section import METHOD, NAME, NAME_WANTED, Section, shown

_MOST: Final = 1_000_000
_COUNT: Final = f"a whole number from 1 to {_MOST}"
_SHORTEST: Final = 0.001
_LONGEST: Final = 86_400.0
_SECONDS: Final = f"seconds from {_SHORTEST} to {_LONGEST:.0f}"
_METHODS: Final = 'methods in capitals such as ["POST"]'
_BY: Final = f"one of {', '.join(By)}"


def rates_of(proxy: Section) -> tuple[Rate, ...]:
    """Return what ``[proxy.rates.NAME]`` say, in the order of the file."""
    section = proxy.section("rates")
    found = []
    for name in section.values:
        if not NAME.fullmatch(name):
            section.problem("", f"a rate named {name!r}", f"a name of {NAME_WANTED}")
        found.append(_rate(section.section(name), name))
    return tuple(found)


def _rate(section: Section, name: str) -> Rate:
    if "requests" not in section.values:
        section.problem("requests", "nothing", _COUNT)
    rate = Rate(
        name=name,
        requests=section.number("requests", _COUNT, 1, 1, _MOST),
        per=section.seconds("per", _SECONDS, 1.0, _SHORTEST, _LONGEST),
        burst=section.number("burst", _COUNT, 0, 1, _MOST),
        capability=section.text("capability", "the name of a capability", default=""),
        methods=section.texts("methods", _METHODS, default=(), check=_check_method),
        by=By(section.text("by", _BY, default=By.ADDRESS, check=_check_by)),
        shared=section.flag("shared", default=False),
    )
    section.close()
    return rate


def _check_method(text: str) -> None:
    if not METHOD.fullmatch(text):
        raise ValueError


def _check_by(text: str) -> None:
    if text not in list(By):
        raise ValueError


def check_capabilities(top: Section, rates: Collection[Rate], names: Collection[str]) -> None:
    """Note the rates of capabilities that there are not."""
    for rate in rates:
        if rate.capability and rate.capability not in names:
            wanted = f"one of {', '.join(sorted(names))}" if names else "a capability that has a folder"
            top.problem(f"[proxy.rates.{rate.name}] capability", shown(rate.capability), wanted)
