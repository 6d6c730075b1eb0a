"""Prometheus' text format: read strictly, and what its names and numbers tell (exposition format 0.0.4)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from strangler.conforming.answer import Answer, Asked
from strangler.conforming.finding import Finding, failed, passed, untold

_NAME: Final = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL: Final = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"'
_SAMPLE: Final = re.compile(rf"({_NAME})(?:\{{((?:{_LABEL}(?:,{_LABEL})*,?)?)\}})?[ \t]+(\S+)(?:[ \t]+-?\d+)?")
_TYPE: Final = re.compile(rf"# TYPE ({_NAME}) (counter|gauge|histogram|summary|untyped|unknown|info)")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|NaN|[+-]?Inf")
_PARTS: Final = ("_bucket", "_sum", "_count", "_total", "_created", "_info")
# Base units (Prometheus, "Metric and label naming"); what is counted in others is one thing in two scales.
_BASE: Final = ("seconds", "bytes", "ratio", "celsius", "meters", "grams", "volts", "amperes", "joules")
_SCALED: Final = re.compile(
    r"_(?:ms|millis|milliseconds?|us|micros|microseconds?|ns|nanoseconds?|minutes?|hours?|kb|kib|mb|mib|kilobytes|"
    r"megabytes|percent)(?:_total)?"
)
METRICS: Final = "/metrics"


class Unreadable(ValueError):
    """A line is none of the format; the message quotes it."""


@dataclass(slots=True)
class Page:
    """Types by family, and samples by their name and labels."""

    types: dict[str, str] = field(default_factory=dict)
    samples: dict[tuple[str, str], float] = field(default_factory=dict)

    def total(self, name: str) -> float:
        return sum(value for (each, _), value in self.samples.items() if each == name)

    def family(self, name: str) -> str:
        """Return to which family a sample belongs: ``x_seconds`` for ``x_seconds_bucket``."""
        short = next((name.removesuffix(each) for each in _PARTS if name.endswith(each)), name)
        return name if name in self.types else short


def read(text: str) -> Page:
    """Return what a page tells. Raises ``Unreadable``."""
    page = Page()
    if text and not text.endswith("\n"):
        raise Unreadable("its last line has no end")
    for line in text.split("\n"):
        _take(page, line.strip(" \t"))
    return page


def _take(page: Page, line: str) -> None:
    if line.startswith("# TYPE "):
        match = _TYPE.fullmatch(line)
        if match is None or match[1] in page.types:
            raise Unreadable(f"{line!r:.120} is no type, or a second one")
        page.types[match[1]] = match[2]
    elif line and not line.startswith("#"):
        match = _SAMPLE.fullmatch(line)
        if match is None:
            raise Unreadable(f"{line!r:.120} is no sample")
        key = (match[1], match[2] or "")
        if key in page.samples:
            raise Unreadable(f"{line!r:.120} is told twice")
        page.samples[key] = _number(match[3], line)


def _number(text: str, line: str) -> float:
    if _NUMBER.fullmatch(text) is None:
        raise Unreadable(f"{line!r:.120} has no number")
    return float(text)


def judge_metrics(before: Asked, after: Asked, *, asked: int, told: str) -> Iterator[Finding]:
    """Say whether ``/metrics`` is read, counts ``asked`` requests in between, and names units.

    ``told`` is a word of an address that was asked, which no label may repeat.
    """
    pages = [_page(before), _page(after)]
    wrong = next((each for each in pages if isinstance(each, str)), None)
    if wrong is not None:
        wanted = "answer /metrics in Prometheus' text format 0.0.4"
        yield failed("metrics.format", f"GET {METRICS}", wrong, wanted)
        return
    one, other = (each for each in pages if isinstance(each, Page))
    yield passed("metrics.format", f"GET {METRICS}", f"{len(other.samples)} samples of {len(other.types)} families")
    yield _judge_growth(one, other, asked)
    yield _judge_units(other)
    yield _judge_labels(other, told)


def _page(came: Asked) -> Page | str:
    if not isinstance(came, Answer) or came.status != 200:
        return str(came)
    if came.media not in ("text/plain", "application/openmetrics-text"):
        return f"{came}, which is not text/plain"
    try:
        return read(came.body.decode())
    except ValueError as exc:
        return str(exc)


def _judge_growth(before: Page, after: Page, asked: int) -> Finding:
    rule, what = "metrics.requests", f"{asked} requests between two readings"
    grown = {
        name: after.total(name) - before.total(name)
        for name in sorted({name for name, _ in after.samples})
        if "request" in name and name.endswith(("_total", "_count"))
    }
    if not grown:
        return failed(rule, what, "no counter of requests", "count requests: NAME_requests_total")
    best = max(grown, key=lambda name: grown[name])
    if grown[best] < asked:
        return failed(rule, what, f"{best} rose by {grown[best]:g}", "count every request that is answered")
    return passed(rule, what, f"{best} rose by {grown[best]:g}")


def _judge_units(page: Page) -> Finding:
    rule, what = "metrics.units", "the names of what is measured"
    bad = sorted({*_scaled(page), *_bare(page)})
    if bad:
        return failed(rule, what, ", ".join(bad[:3]), f"end names in a base unit: {', '.join(_BASE[:3])} ...")
    timed = [name for name, kind in page.types.items() if kind in ("histogram", "summary")]
    if not timed:
        return untold(rule, what, "no histogram and no summary", "measure how long requests take, in seconds")
    return passed(rule, what, f"{', '.join(sorted(timed)[:3])}")


def _scaled(page: Page) -> Iterator[str]:
    return (name for name in {page.family(each) for each, _ in page.samples} if _SCALED.search(name + "_total"))


def _bare(page: Page) -> Iterator[str]:
    """Yield distributions without a unit, and counters that do not say that they are."""
    kinds: Mapping[str, str] = page.types
    for name, kind in kinds.items():
        if kind in ("histogram", "summary") and not name.endswith(_BASE):
            yield name
        counted = any(each == f"{name}_total" for each, _ in page.samples)
        if kind == "counter" and not name.endswith("_total") and not counted:
            yield name


def _judge_labels(page: Page, told: str) -> Finding:
    rule, what = "metrics.labels", f"whether a label repeats the path of a request ({told})"
    found = sorted({name for name, labels in page.samples if told in labels})
    if found:
        return failed(
            rule, what, f"{found[0]} does", "label requests by the template of their route, others by one word"
        )
    return passed(rule, what, "none does")
