"""How the family is at this moment: where each capability stands, and what flows through the proxy."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
from rich.text import Text

from strangler.capability import State
from strangler.ledger import Ledger, LedgerError
from strangler.project import Project

_PATIENCE_S: Final = 1.0
_STYLES: Final[Mapping[str, str]] = {"monolith": "blue", "service": "green"}


@dataclass(slots=True)
class Pulse:
    """Asks the ledger and the proxy's admin port; either may be down, and is then said to be."""

    project: Project
    _ledger: Ledger | None = field(default=None, init=False)
    _counts: dict[str, float] = field(default_factory=dict, init=False)
    _at: float = field(default=0.0, init=False)

    def close(self) -> None:
        if self._ledger is not None:
            self._ledger.connection.close()

    def standing(self) -> Text:
        """Return where each capability stands, in the ledger's words."""
        try:
            if self._ledger is None:
                self._ledger = Ledger.open(self.project)
            states = self._ledger.states()
        except LedgerError:
            self.close()
            self._ledger = None
            return Text("the ledger does not answer; routing goes on as last decided", style="red")
        return Text("   ").join(_standing(name, state) for name, state in states.items())

    def flow(self) -> Text:
        """Return requests a second by stack since the last call, and which workers route by what."""
        base = f"http://{self.project.proxy.admin}"
        try:
            metrics = httpx.get(f"{base}/metrics", timeout=_PATIENCE_S).text
            status = httpx.get(f"{base}/status", timeout=_PATIENCE_S).json()
        except (httpx.HTTPError, ValueError):
            return Text("the proxy does not answer", style="red")
        return Text("   ").join([*self._rates(by_stack(metrics)), _workers(status)])

    def _rates(self, counts: dict[str, float]) -> list[Text]:
        now, last = time.monotonic(), self._counts
        seconds = now - self._at
        self._counts, self._at = counts, now
        return [
            Text(f"{stack} {max(0.0, counts[stack] - last.get(stack, counts[stack])) / seconds:,.0f}/s", _STYLES[stack])
            for stack in sorted(counts)
            if stack in _STYLES
        ]


def by_stack(metrics: str) -> dict[str, float]:
    """Return the requests that each stack has answered, from the proxy's metrics."""
    counts: dict[str, float] = {}
    for line in metrics.splitlines():
        if line.startswith("strangler_proxy_requests_total{"):
            stack = line.partition('stack="')[2].partition('"')[0]
            counts[stack] = counts.get(stack, 0.0) + float(line.rpartition(" ")[2])
    return counts


def _standing(name: str, state: State) -> Text:
    if state.killed is not None:
        return Text.assemble((name, "bold"), " ", ("killed", "bold red"), f" ({state.killed})")
    cohorts = "".join(f" {cohort}={stack}" for cohort, stack in state.cohorts.items())
    return Text.assemble((name, "bold"), f" {state.share / 100:g} % on the service{cohorts}")


def _workers(status: Any) -> Text:
    workers, table = status["workers"], status["table"]
    if not workers or table is None:
        return Text("no proxy worker serves", style="red")
    lost = [name for name in ("valkey", "postgres") if status[name] is False]
    words = f"{len(workers)} workers, table {table['version']}"
    return Text(f"{words}, without {' and '.join(lost)}", style="yellow") if lost else Text(words, style="dim")
