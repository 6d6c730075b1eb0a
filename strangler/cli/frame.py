"""What ``strangler top`` shows, out of two readings of each proxy's metrics: pure, text in, numbers out.

A reading is a page of ``/metrics`` and the time at which it came. Rates and latencies are of what was counted between
two of them. A counter that went down began anew, so what it shows was counted since. A proxy of another release may
have fewer metrics; what they would have told is None, and shown as unknown.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

_PREFIX: Final = "strangler_proxy_"
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPED: Final = re.compile(r"\\(.)")
MONOLITH: Final = "monolith"
SERVICE: Final = "service"
# From the worst: of several workers' breakers, that one is shown.
_CIRCUITS: Final = ("open", "half_open", "closed")

Series = Mapping[str, Mapping[str, float]]
"""The samples of each metric, by the text of their labels."""


def parse(text: str) -> Series:
    """Return the samples of Prometheus's text format that are a proxy's, their names without its prefix."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for line in text.split("\n"):  # the only character that ends a line; labels may hold others that Python takes so
        if line.startswith(_PREFIX):
            series, _, value = line.rpartition(" ")
            name, brace, labels = series.removeprefix(_PREFIX).partition("{")
            found[name][brace + labels] = float(value)
    return dict(found)


@lru_cache(maxsize=16_384)  # the same ones come every second, some thousand of them
def _labels(text: str) -> Mapping[str, str]:
    return {name: _ESCAPED.sub(_unescaped, value) for name, value in _LABEL.findall(text)}


def _unescaped(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a proxy said, and when in seconds of any clock; ``series`` is None when it did not answer, for ``why``."""

    at: float
    series: Series | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """How one stack answered a capability's requests. Rates a second, times in seconds; ``errors`` is a ratio."""

    rate: float = 0.0
    errors: float | None = None
    p50: float | None = None
    p99: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A capability, or what belongs to none when the name is empty.

    ``share`` and ``errors`` are ratios. ``breaker`` and ``retries`` are those of its service, which may have other
    capabilities, too.
    """

    capability: str
    stage: str | None = None
    share: float | None = None
    killed: bool = False
    monolith: Side = Side()
    service: Side = Side()
    errors: float | None = None
    in_flight: float | None = None
    held: float = 0.0
    breaker: str | None = None
    fallbacks: float = 0.0
    retries: float = 0.0

    @property
    def rate(self) -> float:
        return self.monolith.rate + self.service.rate

    @property
    def p99(self) -> float:
        return max(self.monolith.p99 or 0.0, self.service.p99 or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """One proxy as a whole. ``age`` is that of its routing table, in seconds; ``away`` says why it has no numbers."""

    name: str
    away: str | None = None
    versions: tuple[int, ...] = ()
    age: float | None = None
    workers: int = 0
    connections: int = 0
    in_flight: int = 0
    resident: int | None = None
    lag: float | None = None
    without: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What is shown at once. ``seconds`` lie between the readings; ``refused`` is a rate by reason."""

    seconds: float
    proxies: tuple[Proxy, ...]
    rows: tuple[Row, ...]
    total: Row
    refused: Mapping[str, float]


def frame(names: Sequence[str], before: Sequence[Reading], after: Sequence[Reading]) -> Frame:
    """Return what happened between two readings of each of the proxies ``names``."""
    whole = _Part(
        tuple(_Counted.between(one, other) for one, other in zip(before, after, strict=True)),
        tuple(each.series for each in after if each.series is not None),
    )
    parts = whole.by_capability()
    return Frame(
        seconds=max((each.seconds for each in whole.counted), default=0.0),
        proxies=tuple(_proxy(name, reading) for name, reading in zip(names, after, strict=True)),
        rows=tuple(_row(name, parts[name], whole) for name in sorted(parts)),
        total=_total(whole),
        refused=_refused(whole.counted),
    )


def to_json(frame: Frame) -> dict[str, Any]:
    """Return a frame as JSON values: rates a second, times in seconds, sizes in bytes, parts as ratios."""
    return {
        "seconds": frame.seconds,
        "proxies": [asdict(proxy) for proxy in frame.proxies],
        "capabilities": [asdict(row) for row in frame.rows],
        "total": {name: value for name, value in asdict(frame.total).items() if name in _SUMMED},
        "refused": dict(frame.refused),
    }


_SUMMED: Final = ("monolith", "service", "errors", "in_flight", "held", "fallbacks", "retries")


# --- counters ---


@dataclass(frozen=True, slots=True)
class _Counted:
    """What one proxy counted in ``seconds``."""

    seconds: float
    series: Series

    @classmethod
    def between(cls, before: Reading, after: Reading) -> _Counted:
        if before.series is None or after.series is None or after.at <= before.at:
            return cls(0.0, {})
        series = {name: _rises(before.series.get(name, {}), values) for name, values in after.series.items()}
        return cls(after.at - before.at, series)

    def rate(self, name: str, **wanted: str) -> float:
        return _sum(self.series, name, wanted) / self.seconds if self.seconds else 0.0


def _rises(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {labels: _rise(before.get(labels, 0.0), value) for labels, value in after.items()}


def _rise(before: float, after: float) -> float:
    return after - before if after >= before else after


def _sum(series: Series, name: str, wanted: Mapping[str, str]) -> float:
    return sum(value for labels, value in series.get(name, {}).items() if _fits(_labels(labels), wanted))


def _fits(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(labels.get(name) == value for name, value in wanted.items())


def _rate(counted: Sequence[_Counted], name: str, **wanted: str) -> float:
    return sum(each.rate(name, **wanted) for each in counted)


def _errors(counted: Sequence[_Counted], **wanted: str) -> float | None:
    requests = _rate(counted, "requests_total", **wanted)
    return _rate(counted, "requests_total", status_class="5xx", **wanted) / requests if requests else None


def _side(counted: Sequence[_Counted], **wanted: str) -> Side:
    buckets = _buckets(counted, wanted)
    return Side(
        rate=_rate(counted, "requests_total", **wanted),
        errors=_errors(counted, **wanted),
        p50=quantile(0.5, buckets),
        p99=quantile(0.99, buckets),
    )


def _buckets(counted: Sequence[_Counted], wanted: Mapping[str, str]) -> list[tuple[float, float]]:
    sums: dict[float, float] = defaultdict(float)
    for each in counted:
        for text, value in each.series.get("request_duration_seconds_bucket", {}).items():
            labels = _labels(text)
            if _fits(labels, wanted):
                sums[float(labels["le"])] += value
    return sorted(sums.items())


def quantile(part: float, buckets: Sequence[tuple[float, float]]) -> float | None:
    """Return the quantile ``part`` of (upper bound, cumulated count) by linear interpolation; None without any.

    As Prometheus's histogram_quantile: what lies above the last finite bound is told as that bound.
    """
    if not buckets or buckets[-1][1] <= 0:
        return None
    rank = part * buckets[-1][1]
    for (low, below), (high, upto) in pairwise([(0.0, 0.0), *buckets]):
        if upto >= rank and upto > below:
            return low if high == float("inf") else low + (high - low) * (rank - below) / (upto - below)
    return None


def _refused(counted: Sequence[_Counted]) -> dict[str, float]:
    reasons = {_labels(labels)["reason"] for each in counted for labels in each.series.get("refusals_total", ())}
    rates = {reason: _rate(counted, "refusals_total", reason=reason) for reason in sorted(reasons)}
    return {reason: rate for reason, rate in rates.items() if rate}


# --- gauges ---


def _gauge(live: Sequence[Series], name: str) -> float | None:
    """Return the sum of a gauge over all proxies, None where nobody has it."""
    found = [value for series in live for value in series.get(name, {}).values()]
    return sum(found) if found else None


def _words(live: Sequence[Series], name: str, label: str, **wanted: str) -> set[str]:
    """Return the values of ``label`` in the samples of a gauge that are not 0."""
    return {
        _labels(labels)[label]
        for series in live
        for labels, value in series.get(name, {}).items()
        if value and _fits(_labels(labels), wanted)
    }


# --- both ---


@dataclass(frozen=True, slots=True)
class _Part:
    """What proxies counted and what they said last; of all that they said, or of one capability."""

    counted: tuple[_Counted, ...]
    live: tuple[Series, ...]

    def by_capability(self) -> dict[str, _Part]:
        """Return a part for each capability. Looking through everything for each of fifty takes ten times as long."""
        counted = [(each.seconds, _by_capability(each.series)) for each in self.counted]
        live = [_by_capability(series) for series in self.live]
        names = {name for _, found in counted for name in found}.union(*live)
        return {
            name: _Part(
                tuple(_Counted(seconds, found.get(name, {})) for seconds, found in counted),
                tuple(found.get(name, {}) for found in live),
            )
            for name in names
        }


def _by_capability(series: Series) -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, dict[str, float]]] = {}
    for metric, values in series.items():
        for labels, value in values.items():
            name = _labels(labels).get("capability")
            if name is not None:
                found.setdefault(name, {}).setdefault(metric, {})[labels] = value
    return found


def _row(name: str, part: _Part, whole: _Part) -> Row:
    known = [series for _, series in sorted(zip(map(_version, whole.live), part.live, strict=True), key=_first)]
    newest = known[-1:]
    services = _words(newest, "capability_stage", "service")
    upstream = next(iter(services), MONOLITH if name == "" else "")
    return Row(
        capability=name,
        stage=next(iter(_words(newest, "capability_stage", "stage")), None),
        share=_gauge(newest, "capability_share_ratio"),
        killed=bool(_gauge(newest, "capability_killed")),
        monolith=_side(part.counted, stack=MONOLITH),
        service=_side(part.counted, stack=SERVICE),
        errors=_errors(part.counted),
        in_flight=_gauge(part.live, "capability_in_flight"),
        held=_gauge(part.live, "held") or 0.0,
        breaker=_breaker(whole.live, upstream),
        fallbacks=_rate(part.counted, "fallbacks_total", verdict="fallback"),
        retries=_rate(whole.counted, "retries_total", upstream=upstream),
    )


def _first(pair: tuple[float, Series]) -> float:
    return pair[0]


def _total(whole: _Part) -> Row:
    return Row(
        capability="",
        monolith=_side(whole.counted, stack=MONOLITH),
        service=_side(whole.counted, stack=SERVICE),
        errors=_errors(whole.counted),
        in_flight=_gauge(whole.live, "in_flight"),
        held=_gauge(whole.live, "held") or 0.0,
        fallbacks=_rate(whole.counted, "fallbacks_total", verdict="fallback"),
        retries=_rate(whole.counted, "retries_total"),
    )


def _breaker(live: Sequence[Series], upstream: str) -> str | None:
    found = _words(live, "breaker_workers", "circuit", upstream=upstream)
    return next((circuit for circuit in _CIRCUITS if circuit in found), None)


def _version(series: Series) -> float:
    return max(series.get("routing_table_version", {}).values(), default=0.0)


def _proxy(name: str, reading: Reading) -> Proxy:
    series = reading.series
    if series is None:
        return Proxy(name=name, away=reading.why)
    versions = series.get("routing_table_version", {}).values()
    resident = _gauge([series], "worker_resident_bytes")
    links = series.get("link_workers", {}).items()
    return Proxy(
        name=name,
        versions=tuple(sorted({int(version) for version in versions})),
        age=min(series.get("routing_table_age_seconds", {}).values(), default=None),
        workers=len(versions),
        connections=int(_gauge([series], "connections") or 0),
        in_flight=int(_gauge([series], "in_flight") or 0),
        resident=None if resident is None else int(resident),
        lag=max(series.get("loop_lag_seconds", {}).values(), default=None),
        without=tuple(sorted(_labels(labels)["link"] for labels, workers in links if workers < len(versions))),
    )
